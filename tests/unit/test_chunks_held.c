/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk cache: what a hydration has had is kept until others find it
 * where it was put, and memory is ready for what comes next.
 */
#include "tests/unit/t.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/store/chunks.h"
#include "tests/unit/store_fixture.h"

struct tensor {
	struct gated_source *src;
	uint64_t off, len;
};

/* Reads all of it, as one file wants it. */
static void *read_tensor(void *arg)
{
	const struct tensor *t = arg;
	const struct wfs_chunk_want want = { 1, t->off, t->off + t->len };
	uint8_t *buf wfs_autofree = wfs_malloc(t->len);

	if (wfs_chunks_read(t->src->base.chunks, &t->src->region, &want, buf,
			    t->len, t->off) ||
	    pattern_check(buf, t->len, t->off) != -1)
		abort();
	return NULL;
}

static void elsewhere(struct tensor *tensor)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, read_tensor, tensor), 0);
	pthread_join(thread, NULL);
}

/* Two of them have the source's first chunk between them. */
static void a_chunk_stays_while_one_of_two_tensors_holds_it(void **state)
{
	const struct wfs_chunks_config config = { .bytes = 8 * MIB };
	struct gated_source *src = gated_source_new(2 * MIB);
	struct tensor first = { src, 0, 300000 };
	struct tensor second = { src, 300000, MIB };
	struct tensor both = { src, 0, MIB + 300000 };
	struct wfs_chunks_stats stats;
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(wfs_chunks_open(&config, &src->base.chunks, &err), 0);
	wfs_chunks_hold();
	read_tensor(&first);
	read_tensor(&first); /* held once */
	elsewhere(&second);
	elsewhere(&both);
	assert_int_equal(atomic_load(&src->base.bytes_read), 2 * MIB);
	wfs_chunks_let_go(src->base.chunks);
	wfs_chunks_stats(src->base.chunks, &stats);
	assert_int_equal(stats.kept, 1); /* its end is anybody's */
	read_tensor(&first);
	assert_int_equal(atomic_load(&src->base.bytes_read), 3 * MIB);
	wfs_chunks_close(src->base.chunks);
	wfs_source_put(&src->base);
}

static uint64_t memory_of(struct wfs_chunks *chunks)
{
	struct wfs_chunks_stats stats;

	wfs_chunks_stats(chunks, &stats);
	return stats.memory;
}

static bool eight_slabs_are_there(void *chunks)
{
	return memory_of(chunks) == 16 * MIB;
}

static bool none_is_there(void *chunks)
{
	return !memory_of(chunks);
}

static void open_cache(struct gated_source *src, uint64_t keep_ns)
{
	const struct wfs_chunks_config config = { .bytes = 128 * MIB,
						  .keep_ns = keep_ns };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_chunks_open(&config, &src->base.chunks, &err), 0);
}

static void memory_is_ready_before_the_next_far_chunk_comes(void **state)
{
	struct gated_source *src = gated_source_new(2 * MIB);
	struct tensor some = { src, 0, 4096 };

	(void)state;
	open_cache(src, 0);
	read_tensor(&some);
	eventually(eight_slabs_are_there, src->base.chunks, "some is ready");
	wfs_chunks_close(src->base.chunks);
	wfs_source_put(&src->base);
}

static void nobody_waits_for_a_near_chunk_so_none_is_ready(void **state)
{
	struct gated_source *src = gated_source_new(2 * MIB);
	struct tensor some = { src, 0, 4096 };

	(void)state;
	src->near = true;
	open_cache(src, 0);
	read_tensor(&some);
	assert_int_equal(memory_of(src->base.chunks), 2 * MIB);
	wfs_chunks_close(src->base.chunks);
	wfs_source_put(&src->base);
}

static void what_is_ready_for_nobody_goes_in_time(void **state)
{
	struct gated_source *src = gated_source_new(2 * MIB);
	struct tensor some = { src, 0, 4096 };

	(void)state;
	open_cache(src, 20000000);
	read_tensor(&some);
	eventually(none_is_there, src->base.chunks, "all of it is gone");
	wfs_chunks_close(src->base.chunks);
	wfs_source_put(&src->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_chunk_stays_while_one_of_two_tensors_holds_it),
		T(memory_is_ready_before_the_next_far_chunk_comes),
		T(nobody_waits_for_a_near_chunk_so_none_is_ready),
		T(what_is_ready_for_nobody_goes_in_time),
	};

	return cmocka_run_group_tests_name("chunks_held", tests, NULL, NULL);
}
