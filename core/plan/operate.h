/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations, for the table of operate.c.
 */
#ifndef WFS_CORE_PLAN_OPERATE_H
#define WFS_CORE_PLAN_OPERATE_H

#include "core/plan/evaluate.h"

typedef int wfs_op_fn(struct wfs_eval *e, const struct wfs_node *n,
		      struct wfs_value *ret);

wfs_op_fn wfs_op_split, wfs_op_share, wfs_op_slice, wfs_op_pad;
wfs_op_fn wfs_op_reshape, wfs_op_cast, wfs_op_const;
wfs_op_fn wfs_op_if, wfs_op_dim, wfs_op_exists, wfs_op_matches, wfs_op_item;
wfs_op_fn wfs_op_same, wfs_op_modules;

/* The tensor's name in messages. */
const char *wfs_op_source(const struct wfs_eval *e, const struct wfs_value *v);
/* Argument `arg` as a dim that `v` has. */
int wfs_op_take_dim(struct wfs_eval *e, const struct wfs_node *n,
		    const struct wfs_value *v, const struct wfs_node *arg,
		    unsigned *ret);
/* Argument 0 as a dim of argument `tensor`. */
int wfs_op_dim_and_tensor(struct wfs_eval *e, const struct wfs_node *n,
			  uint32_t tensor, unsigned *dim, struct wfs_value *v);
/* A list of numbers, up to WFS_VIEW_DIMS, into `shape`. */
int wfs_op_take_shape(struct wfs_eval *e, const struct wfs_node *n,
		      uint64_t *shape, unsigned *ndim);
/* The result of a view maker, which has set the error where it is NULL. */
int wfs_op_made(struct wfs_eval *e, const struct wfs_node *n,
		const struct wfs_view *view, int64_t source,
		struct wfs_value *ret);

#endif
