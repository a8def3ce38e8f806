/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders in which loaders opened files, kept beyond this process.
 *
 * They are known by what they are of: the name of the model and those of all
 * its files, or of a rank's tensors.  So a version that another seed has, or
 * one trained further, is loaded in the order of the one before.  What was
 * kept is read once, when it is opened; it is little, the oldest goes first.
 */
#ifndef WFS_FS_ORDERS_H
#define WFS_FS_ORDERS_H

#include <stdint.h>

#include "core/base/err.h"
#include "fs/order.h"

struct wfs_orders;
struct wfs_node;
struct wfs_workers;

/* At most so many, with so many files in all. */
#define WFS_ORDERS_MAX	   256
#define WFS_ORDERS_INDICES (4u << 20)

/*
 * As wfs_kept_open; `dir` NULL: kept as long as this.  One that cannot be read
 * is logged and left out.
 */
int wfs_orders_open(const char *dir, struct wfs_orders **ret_orders,
		    struct wfs_err *err);
void wfs_orders_close(struct wfs_orders *orders); /* NULL is fine */

/*
 * The order of files like `node`: as it was the last time, else the first one
 * (wfs_order_first).  `orders` NULL: none is kept.
 */
struct wfs_order *wfs_orders_first(struct wfs_orders *orders,
				   const struct wfs_node *node);
/* Has it kept, by a worker; NULL keeps nothing. */
void wfs_orders_keep_later(struct wfs_orders *orders,
			   struct wfs_workers *workers,
			   const struct wfs_order *order);

#endif
