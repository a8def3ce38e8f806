/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what goes when room is short, and what never does.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/store_fixture.h"

static bool resident(struct bench *b, uint64_t key)
{
	struct wfs_residency res;

	wfs_store_residency(b->store, key, &res);
	return res.resident;
}

/* Acquired, compared and released. */
static void visit(struct bench *b, uint64_t key, uint64_t size)
{
	bench_acquire_right(b, key, key * MIB, size);
	wfs_store_release(b->store, key);
}

/* A passthrough open that is mapped and closed again, as loaders do. */
static uint8_t *map_of(struct bench *b, uint64_t key, uint64_t size)
{
	int id = bench_acquire(b, key, key * MIB, size);
	int fd = fake_kernel_open(&b->kernel, id);
	uint8_t *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	assert_true(map != MAP_FAILED);
	close(fd);
	wfs_store_release(b->store, key);
	return map;
}

static void the_least_recently_used_goes_first(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	for (uint64_t key = 1; key <= 4; key++)
		visit(&b, key, 4 * MIB);
	visit(&b, 1, 4 * MIB);
	visit(&b, 5, 4 * MIB);
	assert_false(resident(&b, 2));
	assert_true(resident(&b, 3) && resident(&b, 4) && resident(&b, 1));
	visit(&b, 6, 8 * MIB);
	assert_true(resident(&b, 1) && resident(&b, 5) && resident(&b, 6));
	assert_int_equal(bench_used(&b), 16 * MIB);
	bench_close(&b);
}

static bool not_resident(void *ctx)
{
	struct bench *b = ctx;

	wfs_store_evict(b->store, 0, 0, false);
	return !resident(b, 1);
}

static void a_map_outlives_release_and_blocks_eviction(void **state)
{
	struct wfs_store_stats stats;
	struct bench b;
	uint8_t *map;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	map = map_of(&b, 1, 6 * MIB);
	assert_int_equal(wfs_store_evict(b.store, 0, 0, false), 0);
	assert_true(resident(&b, 1));
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.pinned_files, 1);
	/* Others force everything out that can go, many times over. */
	for (uint64_t key = 10; key < 30; key++)
		visit(&b, key, 5 * MIB);
	assert_true(resident(&b, 1));
	assert_int_equal(pattern_check(map, 6 * MIB, MIB), -1);
	munmap(map, 6 * MIB);
	eventually(not_resident, &b, "an unmapped file is evicted");
	assert_int_equal(bench_used(&b), 0);
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.evicted_files, 21);
	assert_int_equal(stats.evicted_bytes, 106 * MIB);
	assert_int_equal(stats.pinned_files, 0);
	bench_close(&b);
}

static bool fits(void *ctx)
{
	struct bench *b = ctx;
	int rc = bench_acquire(b, 9, 9 * MIB, 4 * MIB);

	if (rc > 0)
		wfs_store_release(b->store, 9);
	else
		assert_int_equal(rc, -ENOSPC);
	return rc > 0;
}

static void a_pinned_arena_refuses_and_reads_still_come(void **state)
{
	uint8_t *buf = wfs_malloc(4 * MIB);
	struct wfs_store_stats stats;
	struct slice slice;
	struct bench b;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	for (uint64_t key = 1; key <= 4; key++)
		bench_acquire_right(&b, key, key * MIB, 4 * MIB);
	for (unsigned i = 1; i <= 50; i++) {
		assert_int_equal(bench_acquire(&b, 9, 9 * MIB, 4 * MIB),
				 -ENOSPC);
		wfs_store_stats(b.store, &stats);
		assert_int_equal(stats.refused, i);
	}
	slice_init(&slice, b.src, 9 * MIB, 4 * MIB);
	assert_int_equal(wfs_store_read(b.store, 9, &slice.recipe, buf, 4 * MIB,
					0),
			 4 * MIB);
	assert_int_equal(pattern_check(buf, 4 * MIB, 9 * MIB), -1);
	assert_int_equal(stats.failed, 0);
	assert_int_equal(stats.pinned_files, 4);
	/* A release makes room at once. */
	wfs_store_release(b.store, 3);
	assert_true(fits(&b));
	assert_false(resident(&b, 3));
	bench_close(&b);
	free(buf);
}

static void an_arena_full_of_maps_refuses_until_one_goes(void **state)
{
	uint8_t *maps[4];
	struct bench b;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	for (uint64_t key = 0; key < 4; key++)
		maps[key] = map_of(&b, key + 1, 4 * MIB);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(bench_acquire(&b, 9, 9 * MIB, 4 * MIB),
				 -ENOSPC);
	munmap(maps[2], 4 * MIB);
	eventually(fits, &b, "there is room after an unmap");
	assert_false(resident(&b, 3));
	for (uint64_t key = 0; key < 4; key++) {
		if (key == 2)
			continue;
		assert_true(resident(&b, key + 1));
		assert_int_equal(
			pattern_check(maps[key], 4 * MIB, (key + 1) * MIB), -1);
		munmap(maps[key], 4 * MIB);
	}
	bench_close(&b);
}

static void a_file_beyond_the_arena_evicts_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	visit(&b, 1, 4 * MIB);
	assert_int_equal(bench_acquire(&b, 2, 0, 17 * MIB), -ENOSPC);
	assert_true(resident(&b, 1));
	bench_close(&b);
}

static void nothing_goes_when_it_would_not_be_enough(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	bench_acquire_right(&b, 1, MIB, 8 * MIB);
	visit(&b, 2, 4 * MIB);
	assert_int_equal(bench_acquire(&b, 3, 0, 12 * MIB), -ENOSPC);
	assert_true(resident(&b, 2));
	bench_close(&b);
}

static void a_prefetch_never_evicts(void **state)
{
	struct slice slice;
	struct bench b;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	visit(&b, 1, 8 * MIB);
	visit(&b, 2, 6 * MIB);
	slice_init(&slice, b.src, 0, 4 * MIB);
	assert_int_equal(wfs_store_prefetch(b.store, 3, &slice.recipe), 0);
	/* It was dropped before this one, which came after it. */
	slice_init(&slice, b.src, 4 * MIB, MIB);
	assert_int_equal(wfs_store_prefetch(b.store, 4, &slice.recipe), 0);
	visit(&b, 4, MIB);
	assert_false(resident(&b, 3));
	assert_true(resident(&b, 1) && resident(&b, 2));
	bench_close(&b);
}

static void evict_takes_all_that_nobody_uses(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	visit(&b, 0x11, 4096);
	visit(&b, 0x12, 100);
	visit(&b, 0x21, 3 * MIB);
	bench_acquire_right(&b, 0x13, 0, 4096);
	assert_int_equal(wfs_store_evict(b.store, 0xf0, 0x10, false), 8192);
	assert_true(resident(&b, 0x21) && resident(&b, 0x13));
	assert_int_equal(wfs_store_evict(b.store, 0, 0, false), 3 * MIB);
	assert_int_equal(bench_used(&b), 4096);
	wfs_store_release(b.store, 0x13);
	assert_int_equal(wfs_store_evict(b.store, 0, 0, false), 4096);
	bench_close(&b);
}

static bool nothing_used(void *ctx)
{
	return bench_used(ctx) == 0;
}

static void the_doomed_go_as_soon_as_they_can(void **state)
{
	struct bench b;
	uint8_t *map;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	bench_acquire_right(&b, 1, MIB, 3 * MIB);
	map = map_of(&b, 2, 5 * MIB);
	assert_int_equal(wfs_store_evict(b.store, 0, 0, true), 0);
	wfs_store_release(b.store, 1);
	assert_int_equal(pattern_check(map, 5 * MIB, 2 * MIB), -1);
	munmap(map, 5 * MIB);
	eventually(nothing_used, &b, "doomed files go by themselves");
	bench_close(&b);
}

static void the_doomed_are_not_given_to_anybody_new(void **state)
{
	struct wfs_piece zeros = { .kind = WFS_PIECE_ZERO,
				   .run = 4096,
				   .count = 1 };
	struct wfs_recipe recipe = { .size = 4096, .n = 1, .pieces = &zeros };
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	uint8_t byte = 1;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	bench_acquire_right(&b, 1, MIB, 4096);
	wfs_store_evict(b.store, 0, 0, true);
	assert_int_equal(bench_acquire(&b, 1, MIB, 4096), -ENOSPC);
	/* The key stands for other bytes now. */
	assert_int_equal(wfs_store_read(b.store, 1, &recipe, &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	wfs_store_release(b.store, 1);
	eventually(nothing_used, &b, "the doomed file is gone");
	bench_acquire_right(&b, 1, 7 * MIB, 4096);
	wfs_store_release(b.store, 1);
	/* One that is being hydrated is doomed as well. */
	slice_init(&slice, b.src, 0, 4096);
	gated_source_gate(b.src, 0);
	bench_start(&b, 2, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	wfs_store_evict(b.store, 0, 0, true);
	assert_int_equal(bench_acquire(&b, 2, 0, 4096), -ENOSPC);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	wfs_store_release(b.store, 2);
	eventually(nothing_used, &b, "the doomed file is gone");
	bench_close(&b);
}

static void evict_drops_prefetches_that_have_not_begun(void **state)
{
	struct slice slices[3];
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	gated_source_gate(b.src, 0);
	for (unsigned i = 0; i < 3; i++) {
		slice_init(&slices[i], b.src, 0, 4096);
		assert_int_equal(
			wfs_store_prefetch(b.store, i, &slices[i].recipe), 0);
	}
	gated_source_await(b.src, 1);
	wfs_store_evict(b.store, 0, 0, true);
	gated_source_gate(b.src, GATE_OPEN);
	eventually(nothing_used, &b, "the one under way is gone, too");
	assert_int_equal(b.kernel.exposed, 1);
	bench_close(&b);
}

static void a_reader_keeps_its_map_after_detach(void **state)
{
	struct bench b;
	uint8_t *map;

	(void)state;
	bench_open(&b, 16 * MIB, 64 * MIB);
	map = map_of(&b, 1, 4 * MIB);
	wfs_store_detach(b.store);
	assert_int_equal(bench_used(&b), 4 * MIB);
	assert_int_equal(pattern_check(map, 4 * MIB, MIB), -1);
	munmap(map, 4 * MIB);
	assert_int_equal(bench_used(&b), 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_least_recently_used_goes_first),
		T(a_map_outlives_release_and_blocks_eviction),
		T(a_pinned_arena_refuses_and_reads_still_come),
		T(an_arena_full_of_maps_refuses_until_one_goes),
		T(a_file_beyond_the_arena_evicts_nothing),
		T(nothing_goes_when_it_would_not_be_enough),
		T(a_prefetch_never_evicts),
		T(evict_takes_all_that_nobody_uses),
		T(the_doomed_go_as_soon_as_they_can),
		T(the_doomed_are_not_given_to_anybody_new),
		T(evict_drops_prefetches_that_have_not_begun),
		T(a_reader_keeps_its_map_after_detach),
	};

	return cmocka_run_group_tests_name("store_evict", tests, NULL, NULL);
}
