/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views, from the inside: what the files that compile them share.
 */
#ifndef WFS_CORE_PLAN_VIEW_INNER_H
#define WFS_CORE_PLAN_VIEW_INNER_H

#include "core/plan/nest.h"
#include "core/plan/view.h"

enum wfs_view_op {
	WFS_VIEW_SOURCE,
	WFS_VIEW_SLICE,
	WFS_VIEW_CONCAT,
	WFS_VIEW_TRANSPOSE,
	WFS_VIEW_RESHAPE,
	WFS_VIEW_CONST,
	WFS_VIEW_CAST,
};

/* Pieces as they are found, in any order.  Start with {0}. */
struct wfs_boxes {
	struct wfs_piece *pieces;
	uint32_t n, cap;
	struct wfs_pool loops;
};

/*
 * Adds a piece like `what` of the loops of `nest`, which are in the order of
 * `step`.  -E2BIG when there are too many.
 */
int wfs_boxes_add(struct wfs_boxes *boxes, const struct wfs_piece *what,
		  const struct wfs_nest *nest, struct wfs_err *err);
/* Puts the pieces in order and joins those that go on from each other. */
void wfs_boxes_join(struct wfs_boxes *boxes);
/* An owned recipe of the pieces, checked. */
int wfs_boxes_recipe(const struct wfs_boxes *boxes, uint64_t size,
		     struct wfs_recipe **ret_recipe, struct wfs_err *err);
void wfs_boxes_clear(struct wfs_boxes *boxes);

/* ---- lowering: see view_recipe.c */

struct wfs_ask_loop {
	uint64_t count;
	uint64_t step; /* elements of its dim */
	uint64_t file; /* bits of the file */
	unsigned dim;
};

/* What is wanted of a view. */
struct wfs_ask {
	uint64_t start[WFS_VIEW_DIMS]; /* elements */
	uint64_t at;		       /* bits of the file */
	enum wfs_cast cast;	       /* of what is found */
	unsigned n;
	struct wfs_ask_loop loops[WFS_LOOPS]; /* each more than once */
};

struct wfs_lowering {
	struct wfs_boxes boxes;
	enum wfs_dtype dtype; /* of the whole */
	unsigned depth;
	struct wfs_err *err;
};

/* Finds the pieces that answer `ask`, which is used up. */
int wfs_view_lower(struct wfs_lowering *l, const struct wfs_view *v,
		   struct wfs_ask *ask);
int wfs_view_lower_reshape(struct wfs_lowering *l, const struct wfs_view *v,
			   struct wfs_ask *ask);
/* `shape` is the source itself, or a reshape of it that was asked. */
int wfs_view_lower_source(struct wfs_lowering *l, const struct wfs_view *v,
			  const struct wfs_view *shape,
			  const struct wfs_ask *ask);
/* Sets the times of a loop; once is no loop, and the last takes its place. */
void wfs_ask_set_count(struct wfs_ask *ask, unsigned loop, uint64_t count);

#endif
