/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: reading what is there, is coming, or is not; residency, digests.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/text.h"
#include "core/digest/digests.h"
#include "tests/unit/store_fixture.h"

static bool has_digest(void *ctx)
{
	struct bench *b = ctx;
	struct wfs_residency res;

	wfs_store_residency(b->store, 1, &res);
	return res.has_digest;
}

static void reads_do_not_wait_for_the_hydration(void **state)
{
	uint8_t *buf = wfs_malloc(8 * MIB);
	struct sleeper sleeper;
	struct wfs_residency res;
	struct slice slice, copy;
	unsigned long reads;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 6 * MIB);
	/* Absent: from the source. */
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, buf, 99, 7),
			 99);
	assert_int_equal(pattern_check(buf, 99, 7), -1);
	gated_source_gate(b.src, 3 * MIB);
	bench_start(&b, 1, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	/* Three of six chunks are there: the source is not asked again. */
	wfs_store_residency(b.store, 1, &res);
	assert_int_equal(res.bytes, 3 * MIB);
	assert_false(res.resident);
	reads = atomic_load(&b.src->reads);
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, buf, 2 * MIB,
					MIB),
			 2 * MIB);
	assert_int_equal(pattern_check(buf, 2 * MIB, MIB), -1);
	assert_int_equal(atomic_load(&b.src->reads), reads);
	/* What is not there comes from a source, past the hydration. */
	copy = slice;
	copy.piece.region = &gated_source_new(64 * MIB)->region;
	copy.recipe.pieces = &copy.piece;
	assert_int_equal(wfs_store_read(b.store, 1, &copy.recipe, buf, 8 * MIB,
					2 * MIB),
			 4 * MIB);
	assert_int_equal(pattern_check(buf, 4 * MIB, 2 * MIB), -1);
	assert_int_equal(
		wfs_store_read(b.store, 1, &copy.recipe, buf, 1, 6 * MIB), 0);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	reads = atomic_load(&b.src->reads);
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, buf, 8 * MIB,
					5),
			 6 * MIB - 5);
	assert_int_equal(pattern_check(buf, 6 * MIB - 5, 5), -1);
	assert_int_equal(atomic_load(&b.src->reads), reads);
	wfs_source_put(copy.piece.region->source);
	bench_close(&b);
	free(buf);
}

/* What was shown of a file that follows the pattern. */
struct shown {
	uint64_t off;
	size_t len;
	unsigned times;
};

static void look(void *ctx, const void *bytes, size_t len)
{
	struct shown *shown = ctx;

	assert_int_equal(pattern_check(bytes, len, shown->off), -1);
	shown->len = len;
	shown->times++;
}

/* How many bytes are shown of `len`; -1: none are. */
static long show(struct bench *b, size_t len, uint64_t off)
{
	struct shown shown = { .off = off };
	struct wfs_use use = { .with = look, .ctx = &shown };
	bool used = wfs_store_use(b->store, 1, len, off, &use);

	assert_int_equal(shown.times, used);
	return used ? (long)shown.len : -1;
}

static void what_is_there_is_shown_in_place(void **state)
{
	struct wfs_store_stats stats;
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 6 * MIB);
	wfs_store_stats(b.store, &stats);
	if (!stats.huge) {
		print_message("skipped: this kernel has no huge tmpfs pages\n");
		bench_close(&b);
		return;
	}
	assert_int_equal(show(&b, 1, 0), -1);
	gated_source_gate(b.src, 3 * MIB);
	bench_start(&b, 1, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	/* All of it or nothing: three of six chunks are there. */
	assert_int_equal(show(&b, 3 * MIB, 0), 3 * MIB);
	assert_int_equal(show(&b, 7, 3 * MIB - 7), 7);
	assert_int_equal(show(&b, 8, 3 * MIB - 7), -1);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	assert_int_equal(show(&b, 6 * MIB, 0), 6 * MIB);
	assert_int_equal(show(&b, MIB, 2 * MIB - 5), MIB);
	assert_int_equal(show(&b, 8 * MIB, 5), 6 * MIB - 5);
	assert_int_equal(show(&b, 1, 6 * MIB), -1);
	bench_close(&b);
}

static void an_error_of_the_source_is_that_of_the_read(void **state)
{
	struct slice slice;
	struct bench b;
	char byte;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 4096);
	atomic_store(&b.src->fail_read, -EIO);
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, &byte, 1, 0),
			 -EIO);
	atomic_store(&b.src->fail_read, 0);
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, &byte, 1, 0),
			 1);
	bench_close(&b);
}

static void residency_follows_the_life_of_an_object(void **state)
{
	struct wfs_residency res;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	wfs_store_residency(b.store, 1, &res);
	assert_true(!res.bytes && !res.resident && !res.has_digest);
	bench_acquire_right(&b, 1, 0, 3 * MIB);
	bench_acquire_right(&b, 0x101, 0, 4096);
	wfs_store_residency(b.store, 1, &res);
	assert_true(res.bytes == 3 * MIB && res.resident && !res.has_digest);
	assert_int_equal(wfs_store_resident_bytes(b.store, 0, 0),
			 3 * MIB + 4096);
	assert_int_equal(wfs_store_resident_bytes(b.store, 0xff00, 0x100),
			 4096);
	wfs_store_release(b.store, 1);
	assert_int_equal(wfs_store_evict(b.store, 0xff00, 0, false), 3 * MIB);
	wfs_store_residency(b.store, 1, &res);
	assert_true(!res.bytes && !res.resident);
	bench_close(&b);
}

static bool has_failed(struct bench *b, uint64_t key)
{
	struct wfs_residency res;

	wfs_store_residency(b->store, key, &res);
	return res.error == -EIO;
}

static void a_failure_is_known_until_it_is_forgotten_or_mended(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	atomic_store(&b.src->fail_read, -EIO);
	for (uint64_t key = 1; key <= 3; key++)
		assert_int_equal(bench_acquire(&b, key, 0, 4096), -EIO);
	wfs_store_forget_failure(b.store, 2);
	assert_true(has_failed(&b, 1) && !has_failed(&b, 2));
	assert_int_equal(bench_acquire(&b, 2, 0, 4096), -EIO);
	assert_true(has_failed(&b, 2));
	atomic_store(&b.src->fail_read, 0);
	bench_acquire_right(&b, 1, 0, 4096);
	assert_true(!has_failed(&b, 1) && has_failed(&b, 3));
	bench_close(&b);
}

static void a_digest_is_that_of_all_bytes_and_comes_later(void **state)
{
	const struct wfs_store_config config = { .arena_size = 64 * MIB,
						 .hydrators = 2,
						 .digests = true };
	uint64_t size = 20 * MIB + 3;
	uint8_t *bytes = wfs_malloc(size);
	struct wfs_residency res;
	XXH128_hash_t want;
	char text[48];
	struct bench b;

	(void)state;
	pattern_fill(bytes, size, 77);
	want = XXH3_128bits(bytes, size);
	snprintf(text, sizeof(text), "xxh3-128:%016llx%016llx",
		 (unsigned long long)want.high64,
		 (unsigned long long)want.low64);
	bench_open_config(&b, &config, 64 * MIB);
	bench_acquire_right(&b, 1, 77, size);
	eventually(has_digest, &b, "the digest is there");
	wfs_store_residency(b.store, 1, &res);
	assert_string_equal(res.digest, text);
	bench_close(&b);
	free(bytes);
}

static void no_digest_is_taken_while_a_hydration_runs(void **state)
{
	const struct wfs_store_config config = { .arena_size = 64 * MIB,
						 .hydrators = 2,
						 .digests = true };
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open_config(&b, &config, 64 * MIB);
	gated_source_gate(b.src, 32 * MIB);
	slice_init(&slice, b.src, 32 * MIB, MIB);
	bench_start(&b, 2, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	bench_acquire_right(&b, 1, 0, 16 * MIB);
	assert_false(has_digest(&b));
	/* An object that waits for its digest can be evicted. */
	wfs_store_release(b.store, 1);
	assert_int_equal(wfs_store_evict(b.store, ~0ull, 1, false), 16 * MIB);
	bench_acquire_right(&b, 1, 0, 16 * MIB);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	eventually(has_digest, &b, "the digest is there");
	bench_close(&b);
}

static const struct wfs_source_ops *gated;
static atomic_uint within; /* reads that begin within a chunk */

static int note_far_read(struct wfs_region *region, void *buf, size_t len,
			 uint64_t off)
{
	if (off % WFS_CHUNK)
		atomic_fetch_add(&within, 1);
	return gated->read(region, buf, len, off);
}

static void what_is_far_is_cut_between_its_chunks(void **state)
{
	const struct wfs_store_config config = { .arena_size = 64 * MIB,
						 .hydrators = 2,
						 .far_hydrators = 1 };
	uint64_t first = 8 * MIB - 77; /* of what is read at once */
	uint8_t *buf = wfs_malloc(first);
	struct wfs_source_ops far;
	struct sleeper sleeper;
	struct slice slice;
	unsigned long reads;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open_config(&b, &config, 64 * MIB);
	gated = b.src->base.ops;
	far = *gated;
	far.far = true;
	far.read = note_far_read;
	b.src->base.ops = &far;
	atomic_store(&within, 0);
	gated_source_gate(b.src, 3 * MIB + 8 * MIB);
	slice_init(&slice, b.src, 3 * MIB + 77, 20 * MIB);
	bench_start(&b, 1, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	/* All of the first part is there to be read, and no more. */
	reads = atomic_load(&b.src->reads);
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, buf, first,
					0),
			 first);
	assert_int_equal(pattern_check(buf, first, 3 * MIB + 77), -1);
	assert_int_equal(atomic_load(&b.src->reads), reads);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	bench_acquire_right(&b, 1, 3 * MIB + 77, 20 * MIB);
	/* Only the first begins where no chunk does. */
	assert_int_equal(atomic_load(&within), 1);
	b.src->base.ops = gated;
	bench_close(&b);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_do_not_wait_for_the_hydration),
		T(what_is_there_is_shown_in_place),
		T(an_error_of_the_source_is_that_of_the_read),
		T(residency_follows_the_life_of_an_object),
		T(a_failure_is_known_until_it_is_forgotten_or_mended),
		T(a_digest_is_that_of_all_bytes_and_comes_later),
		T(no_digest_is_taken_while_a_hydration_runs),
		T(what_is_far_is_cut_between_its_chunks),
	};

	return cmocka_run_group_tests_name("store_read", tests, NULL, NULL);
}
