/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk cache: what a hydration has had is kept until others find it
 * where it was put.
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_chunk_stays_while_one_of_two_tensors_holds_it),
	};

	return cmocka_run_group_tests_name("chunks_held", tests, NULL, NULL);
}
