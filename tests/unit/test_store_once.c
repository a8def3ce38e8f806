/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies far away is fetched once: by a file, its tensors and those who
 * read it meanwhile, in whatever order they come.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/store/chunks.h"
#include "tests/unit/chance.h"
#include "tests/unit/store_fixture.h"

#define SIZE  (21 * MIB + 12345)
#define FILE_ 1 /* key of the file that is all of the region */

struct fixture {
	struct bench b;
	struct wfs_chunks *chunks;
	struct wfs_source_ops far;
};

static void open_all(struct fixture *f, uint64_t arena)
{
	const struct wfs_chunks_config cache = { .bytes = 64 * MIB };
	struct wfs_store_config config = { .arena_size = arena,
					   .hydrators = 3,
					   .chunk = 8 * MIB };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_chunks_open(&cache, &f->chunks, &err), 0);
	config.chunks = f->chunks;
	bench_open_config(&f->b, &config, SIZE);
	f->b.src->base.chunks = f->chunks;
	f->far = *f->b.src->base.ops;
	f->far.far = true;
	f->b.src->base.ops = &f->far;
}

static void close_all(struct fixture *f)
{
	wfs_chunks_drop(f->chunks, NULL);
	bench_close(&f->b);
	wfs_chunks_close(f->chunks);
}

static uint64_t fetched(struct fixture *f)
{
	return atomic_load(&f->b.src->base.bytes_read);
}

static void release(struct fixture *f, uint64_t key)
{
	wfs_store_release(f->b.store, key);
}

static void a_tensor_is_taken_from_its_file(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f, 64 * MIB);
	bench_acquire_right(&f.b, FILE_, 0, SIZE);
	assert_int_equal(fetched(&f), SIZE);
	bench_acquire_right(&f.b, 2, 3 * MIB + 77, 5 * MIB);
	bench_acquire_right(&f.b, 3, SIZE - 1000, 1000);
	assert_int_equal(fetched(&f), SIZE);
	for (uint64_t key = 1; key <= 3; key++)
		release(&f, key);
	close_all(&f);
}

/* Cuts the region at random, at most `most` bytes each; acquires all. */
static uint64_t acquire_parts(struct fixture *f, struct chance *chance,
			      uint64_t most)
{
	uint64_t key = 2, off = 0;

	while (off < SIZE) {
		uint64_t len = 300 + chance_below(chance, most);

		if (len > SIZE - off || SIZE - off - len < 300)
			len = SIZE - off;
		bench_acquire_right(&f->b, key, off, len);
		release(f, key++);
		off += len;
	}
	return key;
}

static void a_file_is_taken_from_its_tensors(void **state)
{
	struct chance chance = chance_new();
	struct fixture f;

	(void)state;
	open_all(&f, 64 * MIB);
	acquire_parts(&f, &chance, 3 * MIB);
	assert_int_equal(fetched(&f), SIZE);
	wfs_chunks_drop(f.chunks, NULL);
	bench_acquire_right(&f.b, FILE_, 0, SIZE);
	assert_int_equal(fetched(&f), SIZE);
	release(&f, FILE_);
	close_all(&f);
}

static void what_was_evicted_is_fetched_again(void **state)
{
	struct chance chance = chance_new();
	uint64_t before, keys;
	struct fixture f;

	(void)state;
	open_all(&f, 64 * MIB);
	keys = acquire_parts(&f, &chance, MIB);
	for (uint64_t key = 2; key < keys; key += 2)
		wfs_store_evict(f.b.store, UINT64_MAX, key, false);
	wfs_chunks_drop(f.chunks, NULL);
	before = fetched(&f);
	bench_acquire_right(&f.b, FILE_, 0, SIZE);
	assert_in_range(fetched(&f), before + SIZE / 4, before + SIZE);
	release(&f, FILE_);
	wfs_store_evict(f.b.store, 0, 0, false);
	before = fetched(&f);
	bench_acquire_right(&f.b, 2, MIB, 4 * MIB);
	assert_int_equal(fetched(&f), before + 4 * MIB);
	release(&f, 2);
	close_all(&f);
}

static void what_was_read_before_is_not_fetched_again(void **state)
{
	uint8_t *buf wfs_autofree = wfs_malloc(5 * MIB);
	struct slice slice;
	struct fixture f;

	(void)state;
	open_all(&f, 64 * MIB);
	slice_init(&slice, f.b.src, 0, SIZE);
	for (uint64_t at = 0; at < 5 * MIB; at += 128 * 1024)
		assert_int_equal(wfs_store_read(f.b.store, FILE_, &slice.recipe,
						buf, 128 * 1024, at),
				 128 * 1024);
	assert_int_equal(fetched(&f), 5 * MIB);
	bench_acquire_right(&f.b, FILE_, 0, SIZE);
	assert_int_equal(fetched(&f), SIZE);
	release(&f, FILE_);
	close_all(&f);
}

struct reader {
	struct fixture *f;
	pthread_t thread;
	uint64_t off;
	ssize_t got;
	int64_t wrong;
};

static void *reader_thread(void *arg)
{
	struct reader *r = arg;
	uint8_t *buf wfs_autofree = wfs_malloc(2 * MIB);
	struct slice slice;

	slice_init(&slice, r->f->b.src, 0, SIZE);
	r->got = wfs_store_read(r->f->b.store, FILE_, &slice.recipe, buf,
				2 * MIB, r->off);
	r->wrong = r->got > 0 ? pattern_check(buf, (size_t)r->got, r->off) : 0;
	return NULL;
}

#define READERS 6

static bool readers_wait(void *ctx)
{
	struct fixture *f = ctx;
	struct wfs_chunks_stats stats;

	wfs_chunks_stats(f->chunks, &stats);
	return stats.waited >= READERS;
}

/* A hydration that hangs, and readers of what it is to bring to the arena. */
static void start_all(struct fixture *f, struct slice *slice,
		      struct sleeper *sleeper, struct reader *readers)
{
	uint64_t wait_ns;

	open_all(f, 64 * MIB);
	slice_init(slice, f->b.src, 0, SIZE);
	gated_source_gate(f->b.src, 0);
	bench_start(&f->b, FILE_, slice, sleeper, &wait_ns);
	gated_source_await(f->b.src, 3);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .f = f, .off = i * MIB / 2 };
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
						reader_thread, &readers[i]),
				 0);
	}
	eventually(readers_wait, f, "readers wait for what is on its way");
}

static void readers_take_part_in_the_hydration_under_way(void **state)
{
	struct reader readers[READERS];
	struct sleeper sleeper;
	struct slice slice;
	struct fixture f;

	(void)state;
	start_all(&f, &slice, &sleeper, readers);
	gated_source_gate(f.b.src, GATE_OPEN);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].got, 2 * MIB);
		assert_int_equal(readers[i].wrong, -1);
	}
	assert_true(sleeper_wait(&sleeper) > 0);
	assert_int_equal(fetched(&f), SIZE);
	release(&f, FILE_);
	close_all(&f);
}

static void a_failure_under_way_is_that_of_all_who_wait(void **state)
{
	struct reader readers[READERS];
	struct sleeper sleeper;
	struct slice slice;
	struct fixture f;

	(void)state;
	start_all(&f, &slice, &sleeper, readers);
	atomic_store(&f.b.src->fail_read, -EIO);
	gated_source_gate(f.b.src, GATE_OPEN);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].got, -EIO);
	}
	assert_int_equal(sleeper_wait(&sleeper), -EIO);
	atomic_store(&f.b.src->fail_read, 0);
	bench_acquire_right(&f.b, FILE_, 0, SIZE);
	release(&f, FILE_);
	close_all(&f);
}

#define ACTORS 4
#define KEYS   40
#ifdef __SANITIZE_THREAD__
#define OPS 60
#else
#define OPS 400
#endif

struct actor {
	struct fixture *f;
	pthread_t thread;
	struct chance chance;
};

/* The same slice for a key each time: stretches that overlap each other. */
static void slice_of(struct fixture *f, uint64_t key, struct slice *slice)
{
	uint64_t off = key * 0x9e3779b97f4a7c15ull % (SIZE - 1000);
	uint64_t len = (key * 0xbf58476d1ce4e5b9ull >> 8) % (6 * MIB) + 500;

	if (key == FILE_) {
		off = 0;
		len = SIZE;
	}
	if (len > SIZE - off)
		len = SIZE - off;
	slice_init(slice, f->b.src, off, len);
}

static void read_right(struct fixture *f, uint64_t key,
		       const struct slice *slice, uint64_t at)
{
	uint8_t *buf wfs_autofree = wfs_malloc(2 * MIB);
	ssize_t n = wfs_store_read(f->b.store, key, &slice->recipe, buf,
				   2 * MIB, at);

	if (n < 0 || pattern_check(buf, (size_t)n, slice->piece.off + at) != -1)
		abort();
}

static void *actor_thread(void *arg)
{
	struct actor *a = arg;
	struct wfs_store *store = a->f->b.store;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t key = 1 + chance_below(&a->chance, KEYS);
		uint64_t what = chance_below(&a->chance, 100);
		struct slice slice;

		slice_of(a->f, key, &slice);
		if (what < 40)
			read_right(a->f, key, &slice,
				   chance_below(&a->chance, slice.recipe.size));
		else if (what < 75 &&
			 wfs_store_acquire(store, key, &slice.recipe, NULL,
					   NULL) > 0)
			wfs_store_release(store, key);
		else if (what < 85)
			(void)wfs_store_prefetch(store, key, &slice.recipe);
		else if (what < 99)
			wfs_store_evict(store, UINT64_MAX, key, what < 88);
		else
			wfs_chunks_drop(a->f->chunks, NULL);
	}
	return NULL;
}

static bool nothing_hydrates(void *ctx)
{
	struct fixture *f = ctx;
	struct wfs_residency res;

	for (uint64_t key = 1; key <= KEYS; key++) {
		wfs_store_residency(f->b.store, key, &res);
		if (res.hydrating)
			return false;
	}
	return true;
}

static void bytes_are_right_whatever_comes_and_goes(void **state)
{
	struct chance chance = chance_new();
	struct actor actors[ACTORS];
	struct fixture f;

	(void)state;
	open_all(&f, 40 * MIB);
	for (unsigned i = 0; i < ACTORS; i++) {
		actors[i].f = &f;
		actors[i].chance.state = chance_next(&chance);
		assert_int_equal(pthread_create(&actors[i].thread, NULL,
						actor_thread, &actors[i]),
				 0);
	}
	for (unsigned i = 0; i < ACTORS; i++)
		pthread_join(actors[i].thread, NULL);
	eventually(nothing_hydrates, &f, "all hydrations end");
	for (uint64_t key = 1; key <= KEYS; key++) {
		struct slice slice;

		slice_of(&f, key, &slice);
		read_right(&f, key, &slice, 0);
	}
	close_all(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tensor_is_taken_from_its_file),
		cmocka_unit_test(a_file_is_taken_from_its_tensors),
		cmocka_unit_test(what_was_evicted_is_fetched_again),
		cmocka_unit_test(what_was_read_before_is_not_fetched_again),
		cmocka_unit_test(readers_take_part_in_the_hydration_under_way),
		cmocka_unit_test(a_failure_under_way_is_that_of_all_who_wait),
		cmocka_unit_test(bytes_are_right_whatever_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
