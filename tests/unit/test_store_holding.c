/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: which bytes of a far region it has for others.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/store_fixture.h"

#define SIZE (8 * MIB)

/* A bench whose source is another node's. */
struct world {
	struct bench b;
	struct wfs_source_ops far;
};

static void open_world(struct world *w)
{
	struct wfs_store_config config = { .arena_size = 64 * MIB,
					   .passes_on = true };

	bench_open_config(&w->b, &config, SIZE);
	w->far = *w->b.src->base.ops;
	w->far.far = true;
	w->b.src->base.ops = &w->far;
}

static void have(struct world *w, uint64_t key, uint64_t off, uint64_t size)
{
	assert_true(bench_acquire(&w->b, key, off, size) > 0);
	wfs_store_release(w->b.store, key);
}

static uint64_t finds(struct world *w, uint64_t off, uint64_t len)
{
	return wfs_store_finds(w->b.store, &w->b.src->region, off, len);
}

static uint64_t holds(struct world *w)
{
	return wfs_store_holds(w->b.store, &w->b.src->region);
}

/* Bytes at `off`, as many as one file has of `len`, and right. */
static uint64_t found(struct world *w, uint64_t off, uint64_t len)
{
	static char buf[SIZE];
	struct wfs_found it;

	if (wfs_store_find(w->b.store, &w->b.src->region, off, len, &it))
		return 0;
	assert_true(it.len > 0 && it.len <= len);
	assert_int_equal(wfs_pread_all(it.fd, buf, it.len, it.off), it.len);
	assert_int_equal(pattern_check(buf, it.len, off), -1);
	close(it.fd);
	return it.len;
}

static void pieces_are_found_where_they_lie(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal(holds(&w), 0);
	assert_int_equal(found(&w, 0, 1), 0);
	have(&w, 1, MIB, MIB);
	have(&w, 3, 3 * MIB, 100);
	have(&w, 2, 2 * MIB, MIB);
	assert_int_equal(holds(&w), 2 * MIB + 100);
	assert_int_equal(finds(&w, MIB, SIZE - MIB), 2 * MIB + 100);
	assert_int_equal(finds(&w, MIB + 5, 10), 10);
	assert_int_equal(finds(&w, MIB - 1, 10), 0);
	assert_int_equal(finds(&w, 3 * MIB + 100, 1), 0);
	assert_int_equal(found(&w, MIB + 7, 2 * MIB), MIB - 7);
	assert_int_equal(found(&w, 2 * MIB, 100), 100);
	assert_int_equal(found(&w, 3 * MIB + 90, 100), 10);
	bench_close(&w.b);
}

static void a_whole_file_goes_before_its_parts(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	for (uint64_t i = 0; i < SIZE / MIB; i++)
		have(&w, 10 + i, i * MIB, MIB);
	assert_int_equal(wfs_store_lend(w.b.store, &w.b.src->region), -ENOTSUP);
	assert_int_equal(found(&w, MIB / 2, MIB), MIB / 2);
	have(&w, 1, 0, SIZE);
	assert_int_equal(found(&w, MIB / 2, MIB), MIB);
	assert_int_equal(holds(&w), SIZE);
	bench_close(&w.b);
}

static void what_is_evicted_is_found_no_more(void **state)
{
	struct wfs_found kept;
	struct world w;
	char buf[10];

	(void)state;
	open_world(&w);
	have(&w, 1, 0, 2 * MIB);
	have(&w, 2, MIB, 2 * MIB);
	assert_int_equal(
		wfs_store_find(w.b.store, &w.b.src->region, 100, 10, &kept), 0);
	/* A descriptor in passing keeps nobody from evicting. */
	assert_int_equal(wfs_store_evict(w.b.store, UINT64_MAX, 1, false),
			 2 * MIB);
	assert_int_equal(finds(&w, 0, SIZE), 0);
	assert_int_equal(finds(&w, MIB, SIZE - MIB), 2 * MIB);
	assert_int_equal(wfs_pread_all(kept.fd, buf, 10, kept.off), 10);
	assert_int_equal(pattern_check(buf, 10, 100), -1);
	close(kept.fd);
	wfs_store_evict(w.b.store, 0, 0, false);
	assert_int_equal(holds(&w), 0);
	bench_close(&w.b);
}

static void what_is_lent_is_in_use(void **state)
{
	struct world w;
	char buf[10];
	int fd;

	(void)state;
	open_world(&w);
	have(&w, 1, 0, SIZE);
	fd = wfs_store_lend(w.b.store, &w.b.src->region);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(wfs_store_evict(w.b.store, 0, 0, false), 0);
	assert_int_equal(wfs_pread_all(fd, buf, 10, SIZE - 10), 10);
	assert_int_equal(pattern_check(buf, 10, SIZE - 10), -1);
	close(fd);
	assert_int_equal(wfs_store_evict(w.b.store, 0, 0, false), SIZE);
	assert_int_equal(wfs_store_lend(w.b.store, &w.b.src->region), -ENOTSUP);
	bench_close(&w.b);
}

static void what_lies_on_this_node_is_not_listed(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	w.far.far = false;
	have(&w, 1, 0, SIZE);
	assert_int_equal(holds(&w), 0);
	bench_close(&w.b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pieces_are_found_where_they_lie),
		T(a_whole_file_goes_before_its_parts),
		T(what_is_evicted_is_found_no_more),
		T(what_is_lent_is_in_use),
		T(what_lies_on_this_node_is_not_listed),
	};

	return cmocka_run_group_tests_name("store_holding", tests, NULL, NULL);
}
