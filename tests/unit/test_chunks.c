/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk cache: what is fetched once, how long it is kept, and what
 * becomes of waits when a source fails, hangs or goes.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/store/chunks.h"
#include "tests/unit/chance.h"
#include "tests/unit/store_fixture.h"

#define THREADS 8
#ifdef __SANITIZE_THREAD__
#define OPS 100
#else
#define OPS 1000
#endif

struct fixture {
	struct wfs_chunks *chunks;
	struct gated_source *src;
};

static void open_cache(struct fixture *f, uint64_t bytes, uint64_t keep_ns,
		       uint64_t source)
{
	const struct wfs_chunks_config config = { .bytes = bytes,
						  .keep_ns = keep_ns };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_chunks_open(&config, &f->chunks, &err), 0);
	f->src = gated_source_new(source);
	f->src->near = true;
}

static void close_cache(struct fixture *f)
{
	wfs_source_put(&f->src->base);
	wfs_chunks_close(f->chunks);
}

/* Reads and compares; the source has `files` readers for all of it. */
static int read_some(struct fixture *f, unsigned files, uint64_t off,
		     size_t len)
{
	const struct wfs_chunk_want want = { files, 0, f->src->region.size };
	char *buf wfs_autofree = wfs_malloc(len);
	int rc = wfs_chunks_read(f->chunks, &f->src->region, &want, buf, len,
				 off);

	if (!rc && pattern_check(buf, len, off) != -1) {
		fprintf(stderr, "chunks: wrong bytes\n");
		abort();
	}
	return rc;
}

static uint64_t bytes_read(const struct fixture *f)
{
	return atomic_load(&f->src->base.bytes_read);
}

static struct wfs_chunks_stats stats_of(const struct fixture *f)
{
	struct wfs_chunks_stats stats;

	wfs_chunks_stats(f->chunks, &stats);
	return stats;
}

struct reader {
	struct fixture *f;
	pthread_t thread;
	uint64_t off;
	size_t len;
	int rc;
};

static void *reader_thread(void *ctx)
{
	struct reader *r = ctx;

	r->rc = read_some(r->f, THREADS, r->off, r->len);
	return NULL;
}

static void start_readers(struct fixture *f, struct reader *readers,
			  uint64_t off, size_t len)
{
	for (unsigned i = 0; i < THREADS; i++) {
		readers[i] = (struct reader){ .f = f, .off = off, .len = len };
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
						reader_thread, &readers[i]),
				 0);
	}
}

static bool all_but_one_wait(void *ctx)
{
	return stats_of(ctx).waited >= THREADS - 1;
}

static void threads_that_want_the_same_fetch_it_once(void **state)
{
	struct reader readers[THREADS];
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, 4 * MIB);
	gated_source_gate(f.src, 0);
	start_readers(&f, readers, MIB / 2, 2 * MIB);
	eventually(all_but_one_wait, &f, "all but one wait");
	gated_source_gate(f.src, GATE_OPEN);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].rc, 0);
	}
	assert_int_equal(bytes_read(&f), 2 * MIB);
	close_cache(&f);
}

static void
a_failure_is_for_all_who_waited_and_tried_again_by_the_next(void **state)
{
	struct reader readers[THREADS];
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, 4 * MIB);
	gated_source_gate(f.src, 0);
	start_readers(&f, readers, 0, 4096);
	eventually(all_but_one_wait, &f, "all but one wait");
	atomic_store(&f.src->fail_read, -EIO);
	gated_source_gate(f.src, GATE_OPEN);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].rc, -EIO);
	}
	assert_int_equal(atomic_load(&f.src->reads), 1);
	assert_int_equal(stats_of(&f).kept, 0);
	atomic_store(&f.src->fail_read, 0);
	assert_int_equal(read_some(&f, THREADS, 0, 4096), 0);
	close_cache(&f);
}

struct joined {
	struct reader *readers;
	bool joined[THREADS];
	unsigned count;
};

static bool all_but_one_ended(void *ctx)
{
	struct joined *j = ctx;

	for (unsigned i = 0; i < THREADS; i++) {
		if (j->joined[i] ||
		    pthread_tryjoin_np(j->readers[i].thread, NULL))
			continue;
		assert_int_equal(j->readers[i].rc, -ESHUTDOWN);
		j->joined[i] = true;
		j->count++;
	}
	return j->count == THREADS - 1;
}

static void stopping_ends_waits_but_not_the_fetch(void **state)
{
	struct reader readers[THREADS];
	struct joined j = { .readers = readers };
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, 4 * MIB);
	gated_source_gate(f.src, 0);
	start_readers(&f, readers, 0, 4096);
	eventually(all_but_one_wait, &f, "all but one wait");
	wfs_chunks_stop(f.chunks);
	assert_int_equal(read_some(&f, 2, MIB, 1), -ESHUTDOWN);
	eventually(all_but_one_ended, &j, "those who wait end");
	gated_source_gate(f.src, GATE_OPEN);
	for (unsigned i = 0; i < THREADS; i++)
		if (!j.joined[i])
			pthread_join(readers[i].thread, NULL);
	wfs_chunks_start(f.chunks);
	assert_int_equal(read_some(&f, 2, 0, 4096), 0);
	close_cache(&f);
}

static void near_only_what_is_asked_is_fetched_far_whole_chunks(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, 3 * MIB + 100);
	assert_int_equal(read_some(&f, 2, 5000, 100), 0);
	assert_int_equal(bytes_read(&f), 4096);
	assert_int_equal(read_some(&f, 2, 3 * MIB + 50, 50), 0);
	assert_int_equal(bytes_read(&f), 4196);
	wfs_chunks_drop(f.chunks, NULL);
	f.src->near = false;
	atomic_store(&f.src->base.bytes_read, 0);
	assert_int_equal(read_some(&f, 1, 5000, 100), 0);
	assert_int_equal(bytes_read(&f), MIB);
	/* Whole ones go by, the rest of them does not. */
	assert_int_equal(read_some(&f, 1, MIB - 10, 2 * MIB + 20), 0);
	assert_int_equal(bytes_read(&f), 3 * MIB + 100);
	assert_int_equal(stats_of(&f).kept, 2);
	close_cache(&f);
}

static void a_chunk_goes_when_all_who_want_it_have_had_it(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, MIB);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(read_some(&f, 3, 0, 5000), 0);
		assert_int_equal(stats_of(&f).kept, 1);
		assert_int_equal(read_some(&f, 3, 5000, MIB - 5000), 0);
		assert_int_equal(stats_of(&f).kept, i < 2);
	}
	assert_int_equal(bytes_read(&f), MIB);
	close_cache(&f);
}

static bool nothing_is_kept(void *ctx)
{
	struct wfs_chunks_stats stats = stats_of(ctx);

	return !stats.kept && !stats.memory;
}

static void what_nobody_wants_goes_in_time_and_its_memory_too(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 20000000, 4 * MIB);
	assert_int_equal(read_some(&f, 3, 0, 3 * MIB), 0);
	eventually(nothing_is_kept, &f, "all is gone");
	assert_int_equal(read_some(&f, 3, 0, 3 * MIB), 0);
	assert_int_equal(bytes_read(&f), 6 * MIB);
	close_cache(&f);
}

static void without_room_bytes_are_right_all_the_same(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 1, 0, 4 * MIB);
	assert_int_equal(read_some(&f, 3, 10, 3 * MIB), 0);
	assert_int_equal(read_some(&f, 3, 10, 3 * MIB), 0);
	assert_int_equal(bytes_read(&f), 6 * MIB);
	assert_int_equal(stats_of(&f).kept, 0);
	close_cache(&f);
}

static void the_oldest_makes_room(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 2 * MIB, 0, 4 * MIB);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(read_some(&f, 3, i * MIB, 4096), 0);
	assert_int_equal(stats_of(&f).evicted, 1);
	assert_int_equal(read_some(&f, 3, MIB, 4096), 0);
	assert_int_equal(bytes_read(&f), 3 * 4096);
	assert_int_equal(read_some(&f, 3, 0, 4096), 0);
	assert_int_equal(bytes_read(&f), 4 * 4096);
	close_cache(&f);
}

static void a_source_that_is_dropped_closes(void **state)
{
	struct wfs_chunk_want want = { 3, 0, MIB };
	struct wfs_chunk_ref ref;
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, 4 * MIB);
	assert_int_equal(read_some(&f, 3, MIB, 4096), 0);
	assert_int_equal(wfs_chunk_get(f.chunks, &f.src->region, &want, 100,
				       4000, &ref),
			 0);
	assert_int_equal(atomic_load(&f.src->base.refs), 3);
	wfs_chunks_drop(f.chunks, &f.src->base);
	assert_int_equal(atomic_load(&f.src->base.refs), 2);
	/* What is in use stays until it is not. */
	assert_int_equal(pattern_check(ref.data, 4000, 100), -1);
	wfs_chunk_put(f.chunks, &ref);
	assert_int_equal(atomic_load(&f.src->base.refs), 1);
	assert_int_equal(stats_of(&f).kept, 0);
	close_cache(&f);
}

static void a_region_that_was_rewritten_is_not_served(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 8 * MIB, 0, 4 * MIB);
	assert_int_equal(read_some(&f, 3, 0, 4096), 0);
	atomic_store(&f.src->region.stale, true);
	assert_int_equal(read_some(&f, 3, 0, 4096), -ESTALE);
	close_cache(&f);
}

struct actor {
	struct fixture *f;
	struct chance chance;
	pthread_t thread;
};

static void *actor_thread(void *ctx)
{
	struct actor *a = ctx;
	uint64_t size = a->f->src->region.size;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t off = chance_below(&a->chance, size - 1);
		uint64_t len = 1 + chance_below(&a->chance, size - off);
		uint64_t what = chance_below(&a->chance, 100);
		int rc;

		if (what < 2)
			wfs_chunks_drop(a->f->chunks, &a->f->src->base);
		if (what < 4)
			atomic_store(&a->f->src->fail_read,
				     what % 2 ? 0 : -EIO);
		if (len > 300000 && what < 90)
			len = 300000;
		rc = read_some(a->f, (unsigned)(1 + what % 5), off, len);
		if (rc && rc != -EIO)
			abort();
	}
	return NULL;
}

static void crowd(bool near, uint64_t bytes, uint64_t keep_ns)
{
	struct chance chance = chance_new();
	struct actor actors[THREADS];
	struct fixture f;

	open_cache(&f, bytes, keep_ns, 7 * MIB + 77);
	f.src->near = near;
	for (unsigned i = 0; i < THREADS; i++) {
		actors[i].f = &f;
		actors[i].chance.state = chance_next(&chance);
		assert_int_equal(pthread_create(&actors[i].thread, NULL,
						actor_thread, &actors[i]),
				 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(actors[i].thread, NULL);
	wfs_chunks_drop(f.chunks, NULL);
	assert_int_equal(stats_of(&f).kept, 0);
	assert_int_equal(atomic_load(&f.src->base.refs), 1);
	close_cache(&f);
}

static void every_byte_is_right_in_a_crowd(void **state)
{
	(void)state;
	crowd(true, 4 * MIB, 1000000);
	crowd(false, 4 * MIB, 0);
	crowd(false, 2 * MIB, 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(threads_that_want_the_same_fetch_it_once),
		T(a_failure_is_for_all_who_waited_and_tried_again_by_the_next),
		T(stopping_ends_waits_but_not_the_fetch),
		T(near_only_what_is_asked_is_fetched_far_whole_chunks),
		T(a_chunk_goes_when_all_who_want_it_have_had_it),
		T(what_nobody_wants_goes_in_time_and_its_memory_too),
		T(without_room_bytes_are_right_all_the_same),
		T(the_oldest_makes_room),
		T(a_source_that_is_dropped_closes),
		T(a_region_that_was_rewritten_is_not_served),
		T(every_byte_is_right_in_a_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
