/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine that changes its memory again and again while others read it.
 */
#ifndef WFS_TESTS_UNIT_LIVE_WRITER_H
#define WFS_TESTS_UNIT_LIVE_WRITER_H

#include "tests/unit/live_fixture.h"

#include <sched.h>
#include <stdatomic.h>

#define ROUNDS 200

/* A writer that changes all of it, again and again. */
struct world {
	struct wfs_live_image *image;
	uint64_t *words;
	size_t count;
	atomic_uint whole; /* chunks that were had */
	atomic_bool done;
};

/* Every other round stands until somebody has read of it. */
static inline void *change(void *arg)
{
	struct world *w = arg;
	unsigned before;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		assert_int_equal(wfs_live_cell_begin(&w->image->cell), 0);
		for (size_t i = 0; i < w->count; i++)
			w->words[i] = round;
		before = atomic_load(&w->whole);
		assert_int_equal(wfs_live_cell_end(&w->image->cell), 0);
		while (round % 2 && atomic_load(&w->whole) == before)
			sched_yield();
	}
	atomic_store(&w->done, true);
	return NULL;
}

#endif
