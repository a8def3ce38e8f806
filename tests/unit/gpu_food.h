/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of fills that are fed share: a file that is given by
 * stretches, and what happens in the middle of that.
 */
#ifndef WFS_TESTS_UNIT_GPU_FOOD_H
#define WFS_TESTS_UNIT_GPU_FOOD_H

#include <pthread.h>

#include "tests/unit/gpu_world.h"

/* Gives the file, and does what a test wants before the stretch `when`. */
struct food {
	struct wfs_device_feed feed;
	struct gpu_world *w;
	unsigned stretches, when;
	int (*then)(struct food *food);
	const struct gpu_target *target;
	const struct wfs_device_patience *patience;
	struct wfs_device_room *room;
	pthread_barrier_t *met;
	unsigned calls;
	uint8_t first;
};

/* The fill is fed with the world's file; `ret` lives as long as the fill. */
void gpu_food_serve(struct gpu_world *w, struct wfs_device_fill *fill,
		    struct food *ret);

#endif
