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

#include <stddef.h>
#include <stdint.h>

/* Strings are UTF-8 and may be NULL, where nothing is known. */
struct wfs_live {
	uint64_t epoch;			     /* even; grows with each update */
	const char *engine, *engine_version; /* "vllm", "0.32" */
	const char *layout;		     /* "tp4pp1" */
	const char *state;     /* "loaded": plans apply; or "processed" */
	const char *declared;  /* engines that say the same have the same */
	const uint32_t *ranks; /* those that are here, ascending */
	size_t rank_count;
};

#endif
