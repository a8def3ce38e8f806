/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathering: runs that lie scattered in a region, read with as few calls as
 * pays.
 */
#ifndef WFS_CORE_PLAN_GATHER_H
#define WFS_CORE_PLAN_GATHER_H

#include "core/plan/nest.h"
#include "core/store/chunks.h"

/* Bytes that fit a core's second-level cache, for what is read to be moved. */
#define WFS_TILE_BYTES (64u * 1024)

/* Where bytes are read from, and how. */
struct wfs_from {
	struct wfs_region *region;
	struct wfs_chunks *chunks; /* by way of it, or NULL */
	struct wfs_chunk_want want;
	bool mapped;  /* short runs are copied out of a mapping, if they can */
	uint64_t gap; /* bytes that nobody wants and are read along */
};

/*
 * All bytes of a piece; `nest` is the whole of it.  How bytes that several
 * files of this node want are read once:
 *
 *	the same bytes		by way of the chunk cache.
 *	bytes between each	of a file that can be mapped each file copies
 *	other's runs		its own runs out of the page cache, which the
 *				kernel reads once; what it copied counts as
 *				read at the source, and no gap does.  Of
 *				others short runs come by way of the chunk
 *				cache, and long ones are read without gaps.
 */
struct wfs_from wfs_from_piece(const struct wfs_piece *piece,
			       const struct wfs_nest *nest);

/*
 * Reads every run of `nest`, whose loops are in the order of `stride`, to
 * `to` + `at` + steps.  0 or a negative errno.
 */
int wfs_gather(const struct wfs_from *from, const struct wfs_nest *nest,
	       char *to);

#endif
