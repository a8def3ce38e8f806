/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a file that a source lands in device memory: which of them are asked
 * for, by whom that is ended, and what is left behind.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/live.h"
#include "fs/fill_inner.h"
#include "fs/state.h"
#include "fs/workers.h"
#include "tests/unit/memory_source.h"

#define BYTES 65536u
#define NEVER UINT64_MAX

static unsigned char source_bytes[BYTES];
static int bell;

static int land(struct wfs_region *region, struct wfs_landing *landing,
		size_t len, uint64_t off)
{
	struct memory_source *m = (struct memory_source *)region->source;
	int rc = atomic_load(&m->fail_read);

	atomic_fetch_add(&m->reads, 1);
	if (rc == -EINTR) { /* hangs, till it is stopped */
		eventfd_write(bell, 1);
		while (!(rc = wfs_landing_why_stop(landing)))
			;
		return rc;
	}
	if (!rc && pwrite(landing->ring->fd, m->bytes + off, len,
			  (off_t)landing->at) != (ssize_t)len)
		abort();
	return rc;
}

struct world {
	struct wfs_fs *fs;
	struct wfs_filling *f;
	struct memory_source *m;
	struct wfs_source_ops ops;
	struct wfs_landing_ring *ring;
	struct wfs_piece pieces[3];
	struct wfs_recipe recipe;
};

/* A file of two stretches of the source and zeros behind. */
static void open_world(struct world *w)
{
	int fd = memfd_create("ring", MFD_CLOEXEC);

	for (unsigned i = 0; i < BYTES; i++)
		source_bytes[i] = (unsigned char)(i * 7 + i / 256);
	assert_int_equal(0, ftruncate(fd, BYTES));
	*w = (struct world){ .fs = wfs_calloc(1, sizeof(*w->fs)),
			     .f = wfs_calloc(1, sizeof(*w->f)),
			     .m = memory_source_new(source_bytes, BYTES),
			     .ring = wfs_landing_ring_new(fd, 1u << 20,
							  BYTES) };
	assert_int_equal(0, wfs_workers_start(1, &w->fs->feeders));
	w->ops = *w->m->base.ops;
	w->ops.land = land;
	w->m->base.ops = &w->ops;
	w->pieces[0] = (struct wfs_piece){ .kind = WFS_PIECE_REGION,
					   .region = &w->m->region,
					   .off = 5000,
					   .run = 3000,
					   .stride = 4000,
					   .count = 2 };
	w->pieces[1] = (struct wfs_piece){ .kind = WFS_PIECE_REGION,
					   .region = &w->m->region,
					   .off = 100,
					   .run = 1000,
					   .stride = 1000,
					   .count = 4 };
	w->pieces[2] = (struct wfs_piece){ .kind = WFS_PIECE_ZERO,
					   .run = 100,
					   .count = 1 };
	w->recipe = (struct wfs_recipe){ .size = 10100,
					 .n = 3,
					 .pieces = w->pieces };
	w->f->fs = w->fs;
	w->f->recipe.recipe = &w->recipe;
	atomic_store(&w->f->refs, 1);
	bell = eventfd(0, EFD_CLOEXEC);
}

static void close_world(struct world *w)
{
	wfs_workers_stop(w->fs->feeders);
	/* Nobody else has the one or the other. */
	assert_int_equal(1, atomic_load(&w->f->refs));
	assert_int_equal(1, atomic_load(&w->ring->refs));
	wfs_landing_ring_put(w->ring);
	wfs_source_put(&w->m->base);
	free(w->f);
	free(w->fs);
	close(bell);
}

static int land_from(struct world *w, uint64_t at, uint64_t off, uint64_t len,
		     int end)
{
	const struct wfs_device_patience patience = { .until_ns = NEVER,
						      .ends = { end, -1 } };

	return wfs_fill_land(w->f, w->ring, at, off, len, &patience);
}

static void stretches_land_as_the_file_has_them(void **state)
{
	unsigned char truth[10100], got[10100];
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal((int)sizeof(truth),
			 (int)wfs_recipe_read(&w.recipe, truth, sizeof(truth),
					      0));
	atomic_store(&w.m->reads, 0);
	assert_int_equal(0, land_from(&w, 4096, 10, 9990, -1));
	/* Two runs, and what lies side by side at once. */
	assert_int_equal(3, atomic_load(&w.m->reads));
	assert_int_equal(9990, pread(w.ring->fd, got, 9990, 4096));
	assert_memory_equal(truth + 10, got, 9990);
	assert_int_equal(-ENOTSUP, land_from(&w, 0, 9900, 200, -1));
	close_world(&w);
}

static void what_a_source_says_is_told(void **state)
{
	static const int said[][2] = {
		{ -ENOTSUP, -ENOTSUP },	    { -ESTALE, -ESTALE },
		{ -ECANCELED, -ECANCELED }, { -ETIMEDOUT, -ETIMEDOUT },
		{ -ENODEV, -EIO },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		struct world w;

		open_world(&w);
		atomic_store(&w.m->fail_read, said[i][0]);
		assert_int_equal(said[i][1], land_from(&w, 0, 0, 100, -1));
		close_world(&w);
	}
}

static void one_that_hangs_is_stopped(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	atomic_store(&w.m->fail_read, -EINTR);
	assert_int_equal(-EINTR, land_from(&w, 0, 0, 100, bell));
	/* With an end at once it may not even begin. */
	assert_int_equal(-EINTR, land_from(&w, 0, 0, 100, bell));
	close_world(&w);
}

static void only_what_lies_there_is_worth_trying(void **state)
{
	static const struct wfs_live live = { 0 };
	struct world w;

	(void)state;
	open_world(&w);
	w.f->fill.count = 2;
	w.f->fill.segment[0].file_off = 3500;
	w.f->fill.segment[1].file_off = 9999;
	assert_false(wfs_fill_may_land(w.f));
	w.m->base.live = &live;
	assert_true(wfs_fill_may_land(w.f));
	w.f->fill.segment[1].file_off = 10000;
	assert_false(wfs_fill_may_land(w.f));
	w.f->fill.count = 1;
	w.pieces[0].cast = 1;
	assert_false(wfs_fill_may_land(w.f));
	w.pieces[0].cast = 0;
	w.m->fd = w.ring->fd;
	assert_false(wfs_fill_may_land(w.f));
	w.m->fd = 0;
	w.ops.land = NULL;
	assert_false(wfs_fill_may_land(w.f));
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stretches_land_as_the_file_has_them),
		cmocka_unit_test(what_a_source_says_is_told),
		cmocka_unit_test(one_that_hangs_is_stopped),
		cmocka_unit_test(only_what_lies_there_is_worth_trying),
	};

	return cmocka_run_group_tests_name("fill land", tests, NULL, NULL);
}
