/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landings over FAKE devices that do not come to their end: their memory
 * changes, nothing comes, somebody stops them, the ring goes.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/rdma_ring.h"

static void *land_aside(void *arg)
{
	struct landing *l = arg;

	l->rc = wfs_far_land(l->w->b->fetch->far, &l->call, l->len, l->off);
	return NULL;
}

/* From here its first READ has landed by half, and waits. */
static void begin(struct landing *l)
{
	const struct fake_fault fault = { .kind = FAKE_HELD,
					  .device = FAKE_ANY,
					  .least = PIECE / 2,
					  .times = 1 };

	fake_rdma_inject(&fault);
	assert_int_equal(pthread_create(&l->thread, NULL, land_aside, l), 0);
	fake_rdma_await(FAKE_HOLDS, 1);
}

static int finish(struct landing *l)
{
	pthread_join(l->thread, NULL);
	fake_rdma_heal();
	fake_rdma_release();
	return l->rc;
}

/* The owner is at it while they land; `after`: the epoch that he leaves. */
static int land_torn(uint32_t refuse, unsigned after)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	struct ring ring = ring_open();
	struct landing l = { .w = w,
			     .call = { .ring = ring.ring },
			     .len = WFS_CHUNK };
	struct fake *plain = &w->b->fetch->fakes[0];
	unsigned before;
	int rc;

	SET(plain, frozen, true);
	plain->refuse = refuse;
	begin(&l);
	before = fake_rdma_count(FAKE_READS);
	atomic_store(&w->epoch, EPOCH + 1);
	fake_rdma_release();
	/* Two pieces, and the cell. */
	fake_rdma_await(FAKE_READS, before + 3);
	atomic_store(&w->epoch, after);
	SET(plain, frozen, false);
	rc = finish(&l);
	if (!rc)
		assert_memory_equal(ring.bytes, w->b->fetch->bytes, WFS_CHUNK);
	ring_close(&ring);
	rdma_live_close(w);
	return rc;
}

static void bytes_of_two_epochs_have_not_landed(void **state)
{
	(void)state;
	/* It is over; or others have it; or it was begun and undone. */
	assert_int_equal(land_torn(WFS_WIRE_STALE, EPOCH + 2), -ESTALE);
	assert_int_equal(land_torn(WFS_WIRE_OK, EPOCH + 2), -ENOTSUP);
	assert_int_equal(land_torn(WFS_WIRE_OK, EPOCH), 0);
}

static void nobody_is_asked_for_a_second_copy(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 2);
	struct ring ring = ring_open();
	struct landing l = { .w = w,
			     .call = { .ring = ring.ring },
			     .len = WFS_CHUNK };

	(void)state;
	begin(&l);
	/* That long others are late, and asked by another peer as well. */
	usleep(600000);
	fake_rdma_release();
	assert_int_equal(finish(&l), 0);
	assert_memory_equal(ring.bytes, w->b->fetch->bytes, WFS_CHUNK);
	assert_int_equal(
		w->b->fetch->fakes[0].asked + w->b->fetch->fakes[1].asked, 0);
	assert_int_equal(rdma_bench_stats(w->b).hedges, 0);
	ring_close(&ring);
	rdma_live_close(w);
}

static void whoever_lands_can_be_stopped(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 0);
	struct ring ring = ring_open();
	struct landing l = { .w = w,
			     .call = { .ring = ring.ring },
			     .len = SIZE };

	(void)state;
	begin(&l);
	wfs_landing_stop(&l.call, -EINTR);
	assert_int_equal(finish(&l), -EINTR);
	memset(ring.bytes, BLANK, RING_BYTES);
	l.call.stopped = 0;
	l.call.deadline_ns = wfs_now_ns() + 100 * MS;
	begin(&l);
	assert_int_equal(finish(&l), -ETIMEDOUT);
	/* Nothing comes late. */
	memset(ring.bytes, BLANK, RING_BYTES);
	rdma_bench_reads_by_rdma(w->b, 0, SIZE);
	assert_blank(&ring, 0, RING_BYTES);
	ring_close(&ring);
	rdma_live_close(w);
}

/* Its owner died while READs were on their way to it. */
static void a_ring_that_ends_is_let_go_of(void **state)
{
	struct rdma_live *w = rdma_live_open(NULL, 1, 1);
	struct ring ring = ring_open();
	struct landing l = { .w = w,
			     .call = { .ring = ring.ring },
			     .len = SIZE };
	unsigned before;

	(void)state;
	begin(&l);
	wfs_landing_ring_end(ring.ring);
	assert_int_equal(finish(&l), -ECANCELED);
	memset(ring.bytes, BLANK, RING_BYTES);
	assert_int_equal(ring_land(w, &ring, 0, SIZE, 0), -ECANCELED);
	before = fake_rdma_live_of("mr");
	wfs_landing_ring_put(wfs_steal_ptr(&ring.ring));
	assert_int_equal(fake_rdma_live_of("mr"), before - 1);
	rdma_bench_reads(w->b, 0, SIZE);
	assert_blank(&ring, 0, RING_BYTES);
	ring_close(&ring);
	rdma_live_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_two_epochs_have_not_landed),
		cmocka_unit_test(nobody_is_asked_for_a_second_copy),
		cmocka_unit_test(whoever_lands_can_be_stopped),
		cmocka_unit_test(a_ring_that_ends_is_let_go_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
