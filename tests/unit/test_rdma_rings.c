/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that land in device memory over FAKE devices, where a memfd stands for
 * what a GPU exports: the right ones, where they belong, and nowhere else.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "tests/unit/rdma_ring.h"

static void bytes_land_in_device_memory(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	struct ring ring = ring_open();
	struct wfs_text text = { 0 };
	uint64_t all = 0;

	(void)state;
	ring_lands(w, &ring, 0, SIZE, 0);
	ring_lands(w, &ring, PAGE, SIZE, 0);
	ring_lands(w, &ring, 2 * PAGE + 3, 2, PIECE - 1);
	ring_lands(w, &ring, 7, 3 * WFS_CHUNK, WFS_CHUNK - 5);
	ring_lands(w, &ring, 0, 1, SIZE - 1);
	/* One registration, and nothing of it came any other way. */
	assert_int_equal(fake_rdma_count(FAKE_DMABUFS), 1);
	assert_int_equal(w->b->fetch->fakes[0].asked, 0);
	assert_int_equal(fake_rdma_count(FAKE_FAILS), 0);
	for (unsigned i = 0; i < w->b->seed.peer->rail_count; i++)
		all += w->b->seed.peer->tallies[i].device_bytes;
	assert_true(all == 2 * SIZE + 2 + 3 * WFS_CHUNK + 1);
	wfs_rdma_peer_report(w->b->seed.peer, &text);
	assert_non_null(strstr(text.data, "\"device_bytes\": 8"));
	free(text.data);
	ring_close(&ring);
	rdma_live_close(w);
}

static void memory_of_both_kinds_is_read_by_the_same_lanes(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 0);
	struct ring ring = ring_open();
	unsigned made = 0;

	(void)state;
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	made = fake_rdma_count(FAKE_CONNECTIONS);
	ring_lands(w, &ring, 0, SIZE, 0);
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	assert_true(fake_rdma_count(FAKE_CONNECTIONS) <= RDMA_LANES);
	assert_true(made > 0);
	ring_close(&ring);
	rdma_live_close(w);
}

/* Their digests are for who can look at them. */
static void bytes_with_digests_do_not_land_there(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	struct rdma_live w = { .b = b };
	struct ring ring = ring_open();

	(void)state;
	assert_int_equal(ring_land(&w, &ring, 0, SIZE, 0), -ENOTSUP);
	assert_blank(&ring, 0, RING_BYTES);
	assert_int_equal(fake_rdma_count(FAKE_DMABUFS), 0);
	rdma_bench_reads(b, 0, SIZE);
	ring_close(&ring);
	rdma_bench_close(b);
}

static void a_trusted_list_is_what_bytes_are_held_against(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 0);
	struct wfs_digests *list =
		wfs_digests_new(WFS_XXH3_128, wfs_chunk_count(SIZE));
	struct ring ring = ring_open();

	(void)state;
	assert_true(wfs_far_trust(w->b->fetch->far, list));
	assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ENOTSUP);
	assert_blank(&ring, 0, RING_BYTES);
	ring_close(&ring);
	rdma_live_close(w);
}

static void without_rdma_nobody_waits(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);
	struct rdma_bench bench = { .fetch = b };
	struct rdma_live w = { .b = &bench };
	struct ring ring = ring_open();

	(void)state;
	assert_int_equal(ring_land(&w, &ring, 0, SIZE, 0), -ENOTSUP);
	assert_int_equal(b->fakes[0].asked + b->fakes[1].asked, 0);
	fetch_bench_reads(b, 0, WFS_CHUNK);
	ring_close(&ring);
	fetch_bench_close(b);
}

static void memory_that_was_taken_back_does_not_land(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	struct ring ring = ring_open();

	(void)state;
	ring_lands(w, &ring, 0, SIZE, 0);
	assert_int_equal(wfs_exporter_take_back(w->b->seed.exporter, &w->epoch),
			 0);
	memset(ring.bytes, BLANK, RING_BYTES);
	memset(w->pool, 0xee, PIECES * ROOM);
	assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ENOTSUP);
	assert_blank(&ring, 0, RING_BYTES);
	ring_close(&ring);
	rdma_live_close(w);
}

/* What fails is not tried again there: there is another way. */
static void a_queue_pair_that_breaks_ends_it(void **state)
{
	static const enum ibv_wc_status kinds[] = {
		IBV_WC_REM_ACCESS_ERR,
		IBV_WC_RETRY_EXC_ERR,
		IBV_WC_WR_FLUSH_ERR,
		IBV_WC_LOC_PROT_ERR,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct rdma_live *w = rdma_live_open(NULL, 1, 1);
		struct ring ring = ring_open();
		const struct fake_fault fault = { .kind = FAKE_STATUS,
						  .status = kinds[i],
						  .device = FAKE_ANY,
						  .least = PIECE / 2,
						  .skip = 5,
						  .times = 1 };

		fake_rdma_inject(&fault);
		assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ENOTSUP);
		fake_rdma_heal();
		rdma_bench_reads(w->b, 0, SIZE);
		ring_close(&ring);
		rdma_live_close(w);
	}
}

static void a_device_that_registers_none_is_asked_once(void **state)
{
	static const struct fake_rail none = { .dmabuf_error = EOPNOTSUPP };
	struct rdma_live *w = rdma_live_open(&none, 1, 0);
	struct ring ring = ring_open(), other = ring_open();

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ENOTSUP);
		assert_int_equal(ring_land(w, &other, 0, SIZE, 0), -ENOTSUP);
	}
	assert_blank(&ring, 0, RING_BYTES);
	assert_int_equal(fake_rdma_count(FAKE_DMABUFS), 1);
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	ring_close(&ring);
	ring_close(&other);
	rdma_live_close(w);
}

static void a_ring_that_is_refused_says_nothing_of_others(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 0);
	struct ring ring = ring_open(), other = ring_open();

	(void)state;
	/* What a lane needs for itself is registered by then. */
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	fake_rdma_refuse(ENOMEM, 0, 1);
	assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ENOTSUP);
	assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ENOTSUP);
	assert_int_equal(fake_rdma_count(FAKE_DMABUFS), 1);
	ring_lands(w, &other, 0, SIZE, 0);
	ring_close(&ring);
	ring_close(&other);
	rdma_live_close(w);
}

/* One of two devices cannot: what comes comes by the other one. */
static void a_rail_that_cannot_leaves_it_to_others(void **state)
{
	static const struct fake_rail rails[] = {
		{ .dmabuf_error = EOPNOTSUPP },
		{ 0 },
	};
	struct rdma_live *w = rdma_live_open(rails, 2, 0);
	struct ring ring = ring_open();
	unsigned before;

	(void)state;
	ring_lands(w, &ring, 0, SIZE, 0);
	before = fake_rdma_reads(0);
	ring_lands(w, &ring, 0, SIZE, 0);
	ring_lands(w, &ring, 0, SIZE, 0);
	assert_int_equal(fake_rdma_reads(0), before);
	ring_close(&ring);
	rdma_live_close(w);
}

static void a_ring_may_outlive_who_lands_there(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 0);
	struct ring ring = ring_open();

	(void)state;
	ring_lands(w, &ring, 0, SIZE, 0);
	rdma_live_close(w);
	w = rdma_live_open(NULL, 1, 0);
	ring_lands(w, &ring, 0, SIZE, 0);
	ring_close(&ring);
	rdma_live_close(w);
}

#define THREADS 4

static void *land_often(void *arg)
{
	struct landing *l = arg;

	for (unsigned i = 0; i < 10 && !l->rc; i++)
		l->rc = wfs_far_land(l->w->b->fetch->far, &l->call, l->len,
				     l->off);
	return NULL;
}

static void threads_land_side_by_side(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	struct ring ring = ring_open();
	struct landing all[THREADS];
	uint64_t part = SIZE / THREADS / PAGE * PAGE;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		all[i] = (struct landing){
			.w = w,
			.call = { .ring = ring.ring, .at = i * part },
			.len = part,
			.off = i * part,
		};
		assert_int_equal(pthread_create(&all[i].thread, NULL,
						land_often, &all[i]),
				 0);
	}
	rdma_bench_reads(w->b, 0, SIZE);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(all[i].thread, NULL);
		assert_int_equal(all[i].rc, 0);
	}
	assert_memory_equal(ring.bytes, w->b->fetch->bytes, THREADS * part);
	assert_int_equal(fake_rdma_count(FAKE_DMABUFS), 1);
	ring_close(&ring);
	rdma_live_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_land_in_device_memory),
		cmocka_unit_test(
			memory_of_both_kinds_is_read_by_the_same_lanes),
		cmocka_unit_test(bytes_with_digests_do_not_land_there),
		cmocka_unit_test(a_trusted_list_is_what_bytes_are_held_against),
		cmocka_unit_test(without_rdma_nobody_waits),
		cmocka_unit_test(memory_that_was_taken_back_does_not_land),
		cmocka_unit_test(a_queue_pair_that_breaks_ends_it),
		cmocka_unit_test(a_device_that_registers_none_is_asked_once),
		cmocka_unit_test(a_ring_that_is_refused_says_nothing_of_others),
		cmocka_unit_test(a_rail_that_cannot_leaves_it_to_others),
		cmocka_unit_test(a_ring_may_outlive_who_lands_there),
		cmocka_unit_test(threads_land_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
