/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loader will open next: it goes through an order in steps.
 *
 * Sure of its step is who saw it twice, and may then be as far ahead as the
 * window allows.  Before that, little is risked, since reading what was made
 * takes about as long as making it, and each waits for the other otherwise:
 * who opens a rank's first tensor, or a file and then the next one, is
 * presumed to go on, for WFS_PREFETCH_GUESS and the file in which that ends.
 * Nothing is presumed of who picks here and there.
 */
#ifndef WFS_FS_AHEAD_H
#define WFS_FS_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

struct wfs_node;
struct wfs_order;

/* Never more files ahead than this, however small they are. */
#define WFS_PREFETCH_FILES 64
/* Bytes for a loader that may be none. */
#define WFS_PREFETCH_GUESS (64u << 20)

struct wfs_ahead {
	int64_t last;	/* position opened last, if any */
	int64_t stride; /* from the one before to it */
	int64_t queued; /* the furthest position queued in that direction */
	bool begun;
};

/*
 * `node` was opened, which is in the order.  Returns how many indices of files
 * like it are to be hydrated now: those of the next ones that were not asked
 * for before, up to `window` bytes and the file that they end in.  `sure`:
 * whoever opens one goes on.
 */
unsigned wfs_ahead_next(struct wfs_ahead *ahead, const struct wfs_order *order,
			const struct wfs_node *node, uint64_t window, bool sure,
			uint32_t ret_indices[WFS_PREFETCH_FILES]);

#endif
