/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source says of itself whose regions are the memory of a running
 * engine.
 *
 * Such a source has one epoch of a model.  When the engine changes its weights
 * the epoch is over: what was listed is stale, and the next epoch is another
 * version of the model, with a source of its own.
 */
#ifndef WFS_CORE_LIVE_H
#define WFS_CORE_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/ids.h"

struct wfs_text;

#define WFS_LIVE_VERSION_BYTES 64 /* with the NUL */

/* Where the bytes of a rank were first: a version of a node's memory. */
struct wfs_live_origin {
	char node[WFS_NODE_ID_BYTES];
	char version[WFS_LIVE_VERSION_BYTES];
};

/* Strings are UTF-8 and may be NULL, where nothing is known. */
struct wfs_live {
	uint64_t epoch;			     /* even; grows with each update */
	const char *engine, *engine_version; /* "vllm", "0.32" */
	const char *layout;		     /* "tp4pp1" */
	const char *state;     /* "loaded": plans apply; or "processed" */
	const char *declared;  /* engines that say the same have the same */
	const uint32_t *ranks; /* those that are here, ascending */
	size_t rank_count;
	bool digests; /* root digests of the epoch are to be had */
	/* Of each of them; NULL: this process has them, as this version. */
	const struct wfs_live_origin *origins;
};

/* The weights are not as the engine had loaded them any more. */
#define WFS_LIVE_PROCESSED "processed"

/* Bytes of memory that belong together. */
struct wfs_live_span {
	uintptr_t low, high; /* [low, high) */
};

/* Bytes of a region that lie together. */
struct wfs_live_piece {
	uint64_t off, len; /* in the region */
	const void *at;
};

/*
 * Where a region of an epoch lies, for whoever reads it without its owner: what
 * was read counts only if the cell still had that epoch afterwards.
 */
struct wfs_live_memory {
	uint64_t epoch;
	const void *cell; /* the epoch that is now: 8 bytes, little-endian */
	struct wfs_live_piece *pieces; /* ascending; what is not there … */
	size_t count;		       /* … does not lie together */
};

/* Adds it as a manifest has it: a JSON object. */
void wfs_live_add(const struct wfs_live *live, struct wfs_text *text);
/* "vllm 0.32, tp4"; the caller frees it. */
char *wfs_live_text(const struct wfs_live *live);

#endif
