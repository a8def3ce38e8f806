/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of fills that are fed share: a file that is given by
 * stretches, or lands in memory of the device's, and what happens in the middle
 * of that.
 */
#ifndef WFS_TESTS_UNIT_GPU_FOOD_H
#define WFS_TESTS_UNIT_GPU_FOOD_H

#include <pthread.h>

#include "tests/unit/gpu_world.h"

/*
 * Gives the file, and does what a test wants before the stretch `when`; of what
 * lands before each from the one `when` on.
 */
struct food {
	struct wfs_device_feed feed;
	struct gpu_world *w;
	unsigned stretches, landings, when;
	int (*then)(struct food *food);
	int (*on_landing)(struct food *food);
	const struct gpu_target *target;
	const struct wfs_device_patience *patience;
	struct wfs_device_room *room;
	struct wfs_landing_ring *ring;
	pthread_barrier_t *met;
	unsigned calls;
	uint8_t first;
};

/* The fill is fed with the world's file; `ret` lives as long as the fill. */
void gpu_food_serve(struct gpu_world *w, struct wfs_device_fill *fill,
		    struct food *ret);
/*
 * The same of what lands, as if RDMA wrote it to the FAKE's dma-buf, which is
 * the file that its memory is.
 */
void gpu_food_land(struct gpu_world *w, struct wfs_device_fill *fill,
		   struct food *ret);

#endif
