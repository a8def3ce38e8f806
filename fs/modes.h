/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which mode the nodes that are open are open.
 *
 * The kernel answers EIO to a passthrough open of a node that a cached open
 * still holds, and the other way round; also to one with another backing file
 * than that of an open that holds it.  So a node's mode is decided at its
 * first open and lasts while it is open, and look-ups choose the variant of
 * a file that the next open can use.  What is lost with a restart costs
 * nothing but a look-up: the kernel then refuses, and the open is cached.
 */
#ifndef WFS_FS_MODES_H
#define WFS_FS_MODES_H

#include <stdbool.h>
#include <stdint.h>

enum wfs_mode {
	WFS_MODE_NONE,
	WFS_MODE_CACHED,
	WFS_MODE_PASSTHROUGH, /* to a file of the arena */
	WFS_MODE_DIRECT,      /* to the source's own file */
};

struct wfs_modes;

struct wfs_modes *wfs_modes_new(void);
void wfs_modes_free(struct wfs_modes *modes); /* NULL is fine */

/*
 * Counts an open of node `id`, in `wanted` if nothing holds the node to the
 * other mode; returns the mode that it must have.  *ret_first: it is the
 * first open of the node.
 */
enum wfs_mode wfs_modes_enter(struct wfs_modes *modes, uint64_t id,
			      enum wfs_mode wanted, bool *ret_first);
void wfs_modes_leave(struct wfs_modes *modes, uint64_t id);

/* The mode that a node is held to now. */
enum wfs_mode wfs_modes_of(struct wfs_modes *modes, uint64_t id);

/*
 * The variant of file `ino` that a look-up should answer with: 0, or while a
 * cached open holds that one the next that none holds.  A file that is not
 * `resident` gets at most one variant more, since each cached node has pages
 * of its own.  *ret_cacheable: no cached open of the file lives, so the
 * entry may be kept.
 */
uint32_t wfs_modes_pick(struct wfs_modes *modes, uint64_t ino, bool resident,
			bool *ret_cacheable);

/* Nodes open in each mode now. */
void wfs_modes_count(struct wfs_modes *modes, uint64_t *ret_cached,
		     uint64_t *ret_passthrough);

#endif
