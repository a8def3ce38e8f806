/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See gpu_food.h.
 */
#include "tests/unit/t.h"

#include <string.h>

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

void gpu_food_serve(struct gpu_world *w, struct wfs_device_fill *fill,
		    struct food *ret)
{
	*ret = (struct food){ .w = w };
	ret->feed = (struct wfs_device_feed){ .read = give, .ctx = ret };
	fill->fd = -1;
	fill->feed = &ret->feed;
}
