/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles: boxes of short runs or of elements to be cast, moved through a
 * buffer that fits the cache.
 */
#ifndef WFS_CORE_PLAN_TILE_H
#define WFS_CORE_PLAN_TILE_H

#include "core/plan/gather.h"

/* Rows of some pages and lines of some elements, within a core's cache. */
#define WFS_TILES_BYTES (256u * 1024)

/*
 * Reads all of `box`, whose loops are in the order of `stride`, to `to` +
 * `at` + steps, by way of `tile` (WFS_TILES_BYTES).  A run is at most half a
 * tile at the source.
 */
int wfs_tiles_read(const struct wfs_from *from, enum wfs_cast cast,
		   const struct wfs_nest *box, char *to, char *tile);

#endif
