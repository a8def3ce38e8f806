/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views read backwards: where the elements of the sources of a view are found,
 * when the view's own are given.
 */
#ifndef WFS_CORE_PLAN_INVERT_H
#define WFS_CORE_PLAN_INVERT_H

#include "core/plan/view.h"

/* A box of a tensor, and the view that has just these elements. */
struct wfs_given {
	const struct wfs_view *view;
	uint64_t start[WFS_VIEW_DIMS];
};

typedef void (*wfs_given_fn)(void *ctx, const struct wfs_view *source,
			     const struct wfs_given *given);

/*
 * `values`, of the shape and dtype of `v`, has its elements.  Calls `fn` for
 * every box of a source of `v` that is found in it.  Constants and what was
 * cast are not found.  Views are made in `pool`.
 *
 * -ENOTSUP when some of it cannot be told, because it is a part of what was
 * reshaped; the others were found all the same.
 */
int wfs_view_invert(struct wfs_pool *pool, const struct wfs_view *v,
		    const struct wfs_view *values, wfs_given_fn fn, void *ctx);

/*
 * One view of all of `shape`, put together of boxes of it, which may overlap:
 * the first one that has an element is taken.  NULL when elements are missing.
 */
const struct wfs_view *wfs_view_compose(struct wfs_pool *pool, unsigned ndim,
					const uint64_t *shape,
					const struct wfs_given *given,
					uint32_t count);

#endif
