/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See gpu_food.h.
 */
#include "tests/unit/t.h"

#include <string.h>
#include <sys/mman.h>

#include "tests/unit/gpu_food.h"

static int give(void *ctx, struct wfs_device_room *room, void *to, uint64_t off,
		uint64_t len, const struct wfs_device_patience *patience)
{
	struct food *food = ctx;
	int rc = 0;

	food->patience = patience;
	food->room = room;
	if (food->then && food->stretches == food->when)
		rc = food->then(food);
	food->stretches++;
	if (!rc)
		memcpy(to, food->w->bytes + off, len);
	return rc;
}

static int land(void *ctx, struct wfs_landing_ring *ring, uint64_t at,
		uint64_t off, uint64_t len,
		const struct wfs_device_patience *patience)
{
	struct food *food = ctx;
	int rc = 0;
	char *to;

	(void)patience;
	food->ring = ring;
	if (food->on_landing && food->landings >= food->when)
		rc = food->on_landing(food);
	food->landings++;
	if (rc)
		return rc;
	to = mmap(NULL, ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		  ring->fd, 0);
	assert_ptr_not_equal(MAP_FAILED, to);
	assert_true(at + len <= ring->bytes);
	memcpy(to + at, food->w->bytes + off, len);
	munmap(to, ring->bytes);
	return 0;
}

void gpu_food_serve(struct gpu_world *w, struct wfs_device_fill *fill,
		    struct food *ret)
{
	*ret = (struct food){ .w = w };
	ret->feed = (struct wfs_device_feed){ .read = give, .ctx = ret };
	fill->fd = -1;
	fill->feed = &ret->feed;
}

void gpu_food_land(struct gpu_world *w, struct wfs_device_fill *fill,
		   struct food *ret)
{
	gpu_food_serve(w, fill, ret);
	ret->feed.land = land;
	ret->feed.land_only = true;
}
