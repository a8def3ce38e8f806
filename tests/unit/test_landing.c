/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings in device memory: who is told of their end, and when they go; and what
 * a source is asked to land there.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/memory_source.h"

#define BYTES 8192u

struct watcher {
	struct wfs_landing_watch watch;
	unsigned looks, gone;
	const struct wfs_landing_ring *last;
};

static void look(void *ctx)
{
	((struct watcher *)ctx)->looks++;
}

static void gone(void *ctx, const struct wfs_landing_ring *ring)
{
	struct watcher *w = ctx;

	w->gone++;
	w->last = ring;
	/* Its descriptor is there still. */
	assert_true(fcntl(ring->fd, F_GETFD) >= 0);
}

static struct wfs_landing_ring *new_ring(void)
{
	int fd = memfd_create("ring", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return wfs_landing_ring_new(fd, 1u << 30, BYTES);
}

static void who_watches_is_told_of_ends_and_stops(void **state)
{
	struct watcher w = { .watch = { .look = look, .gone = gone } };
	struct wfs_landing_ring *ring = new_ring();
	struct wfs_landing landing = { .ring = ring };

	(void)state;
	w.watch.ctx = &w;
	wfs_landing_watch(&w.watch);
	assert_int_equal(wfs_landing_why_stop(&landing), 0);
	landing.deadline_ns = wfs_now_ns() - 1;
	assert_int_equal(wfs_landing_why_stop(&landing), -ETIMEDOUT);
	landing.deadline_ns = UINT64_MAX;
	wfs_landing_ring_end(ring);
	assert_int_equal(w.looks, 1);
	assert_int_equal(wfs_landing_why_stop(&landing), -ECANCELED);
	wfs_landing_stop(&landing, -EINTR);
	assert_int_equal(w.looks, 2);
	assert_int_equal(wfs_landing_why_stop(&landing), -EINTR);
	wfs_landing_unwatch(&w.watch);
	wfs_landing_ring_end(ring);
	assert_int_equal(w.looks, 2);
	wfs_landing_ring_put(ring);
	assert_int_equal(w.gone, 0);
}

static void the_last_reference_lets_go(void **state)
{
	struct watcher w = { .watch = { .gone = gone } };
	struct wfs_landing_ring *ring = new_ring();
	int fd = ring->fd;

	(void)state;
	w.watch.ctx = &w;
	wfs_landing_watch(&w.watch);
	wfs_landing_ring_get(ring);
	wfs_landing_ring_end(ring);
	wfs_landing_ring_put(ring);
	assert_int_equal(w.gone, 0);
	wfs_landing_ring_put(ring);
	assert_int_equal(w.gone, 1);
	assert_ptr_equal(w.last, ring);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	wfs_landing_ring_put(NULL);
	wfs_landing_unwatch(&w.watch);
}

static int land_rc;
static unsigned lands;

static int land(struct wfs_region *region, struct wfs_landing *landing,
		size_t len, uint64_t off)
{
	assert_true(off + len <= region->size);
	assert_true(landing->at + len <= landing->ring->bytes);
	lands++;
	return land_rc;
}

static void a_source_is_asked_for_what_can_be(void **state)
{
	static const unsigned char bytes[2 * BYTES];
	struct memory_source *m = memory_source_new(bytes, sizeof(bytes));
	struct wfs_region *region = &m->region;
	struct wfs_source_ops ops = *m->base.ops;
	struct wfs_landing to = { .ring = new_ring(), .at = 100 };

	(void)state;
	lands = 0;
	land_rc = 0;
	/* There is no such way. */
	assert_int_equal(wfs_region_land(region, &to, 1, 0), -ENOTSUP);
	ops.land = land;
	m->base.ops = &ops;
	assert_int_equal(wfs_region_land(region, &to, BYTES - 99, 0), -ERANGE);
	assert_int_equal(wfs_region_land(region, &to, 2, sizeof(bytes) - 1),
			 -ERANGE);
	assert_int_equal(wfs_region_land(region, &to, 1, sizeof(bytes) + 1),
			 -ERANGE);
	assert_int_equal(wfs_region_land(region, &to, 0, 7), 0);
	assert_int_equal(lands, 0);
	assert_int_equal(wfs_region_land(region, &to, BYTES - 100, 7), 0);
	assert_int_equal(lands, 1);
	assert_int_equal(m->base.bytes_read, BYTES - 100);
	/* What is here already need not come. */
	wfs_region_keep(region, bytes, 50);
	assert_int_equal(wfs_region_land(region, &to, 100, 49), -ENOTSUP);
	assert_int_equal(wfs_region_land(region, &to, 100, 50), 0);
	assert_int_equal(lands, 2);
	/* To go another way is no failure, to be stale is, for good. */
	land_rc = -ENOTSUP;
	assert_int_equal(wfs_region_land(region, &to, 100, 50), -ENOTSUP);
	assert_int_equal(m->base.errors, 0);
	land_rc = -ESTALE;
	assert_int_equal(wfs_region_land(region, &to, 100, 50), -ESTALE);
	assert_int_equal(m->base.errors, 1);
	land_rc = 0;
	assert_int_equal(wfs_region_land(region, &to, 100, 50), -ESTALE);
	assert_int_equal(lands, 4);
	wfs_landing_ring_put(to.ring);
	wfs_source_put(&m->base);
}

static void what_was_stopped_before_is_not_asked_for(void **state)
{
	static const unsigned char bytes[BYTES];
	struct memory_source *m = memory_source_new(bytes, sizeof(bytes));
	struct wfs_source_ops ops = *m->base.ops;
	struct wfs_landing to = { .ring = new_ring() };

	(void)state;
	ops.land = land;
	m->base.ops = &ops;
	lands = 0;
	wfs_landing_stop(&to, -EINTR);
	assert_int_equal(wfs_region_land(&m->region, &to, 1, 0), -EINTR);
	assert_int_equal(lands, 0);
	wfs_landing_ring_put(to.ring);
	wfs_source_put(&m->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_watches_is_told_of_ends_and_stops),
		cmocka_unit_test(the_last_reference_lets_go),
		cmocka_unit_test(a_source_is_asked_for_what_can_be),
		cmocka_unit_test(what_was_stopped_before_is_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
