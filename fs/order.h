/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a loader opens the files of a rank: that of the last
 * time, once there was one.
 */
#ifndef WFS_FS_ORDER_H
#define WFS_FS_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct wfs_node;
struct wfs_order;

/*
 * `first` (taken over, malloc'd) holds the `count` indices in their presumed
 * order; every index is below `limit`.
 */
struct wfs_order *wfs_order_new(uint32_t *first, uint32_t count,
				uint32_t limit);
/*
 * Of the files like `node`: a rank's tensors by place in the shard files, or a
 * model's shard files by name.
 */
struct wfs_order *wfs_order_first(const struct wfs_node *node);
void wfs_order_free(struct wfs_order *order); /* NULL is fine */

/*
 * Of wfs_order_first: the same for the same files, told by the names of the
 * model and of all its files, or of the rank's tensors.
 */
uint64_t wfs_order_key(const struct wfs_order *order);

/*
 * Index `i` was opened.  When a second pass begins (the first one opened is
 * opened again) or all were opened, what was seen becomes the order.  True when
 * that is another one than before.
 */
bool wfs_order_note(struct wfs_order *order, uint32_t i);
/*
 * Nothing more is opened: what was seen of a first pass becomes the order,
 * which is then true.
 */
bool wfs_order_finish(struct wfs_order *order);

/* An order as it stands after a pass; freed by free(). */
struct wfs_passed {
	uint32_t count, passed; /* positions, and where the pass ended */
	uint32_t at[];		/* position -> index */
};

struct wfs_passed *wfs_order_passed(const struct wfs_order *order);
/* False, and nothing is changed, if it is not of the same indices. */
bool wfs_order_resume(struct wfs_order *order, const struct wfs_passed *passed);

/* Position of index `i`, or UINT32_MAX. */
uint32_t wfs_order_position(const struct wfs_order *order, uint32_t i);
/*
 * Where the last pass ended, for a position within it: who follows it opens
 * nothing more.  The count for a position behind it, or without a pass.
 */
uint32_t wfs_order_end(const struct wfs_order *order, uint32_t position);
/* The index at a position below the count. */
uint32_t wfs_order_at(const struct wfs_order *order, uint32_t position);

#endif
