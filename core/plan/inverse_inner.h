/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inverse of a plan, between its steps:
 *
 *   inverse_find.c   rules and the dump -> the tensors of the checkpoint
 *   inverse_fill.c   the rules over these -> where each box is found
 *   inverse.c        the checkpoint as a model
 */
#ifndef WFS_CORE_PLAN_INVERSE_INNER_H
#define WFS_CORE_PLAN_INVERSE_INNER_H

#include "core/plan/ghosts.h"
#include "core/plan/inner.h"
#include "core/plan/inverse.h"

/* Why a dump and a plan may not fit each other. */
#define WFS_INVERSE_WHY                                                        \
	"it was saved by another engine, or after it changed its weights, or " \
	"config.json is another model's"

/* What a checkpoint that was put together again is. */
struct wfs_inverse {
	struct wfs_model *dump;
	struct wfs_pool pool;		/* names, shapes, views */
	const struct wfs_view **views;	/* by tensor; NULL: not known yet */
	struct wfs_layout_loss *losses; /* as wfs_layout_losses has them */
	size_t loss_count, loss_cap;
};

/* What the model is, or NULL if it is no such checkpoint. */
struct wfs_inverse *wfs_inverse_of(const struct wfs_model *model);

/* Adds a loss; name and reason are copied. */
void wfs_inverse_lose(struct wfs_inverse *inverse, const char *name,
		      enum wfs_loss_kind kind, const char *reason);

/*
 * Which tensors the plan of `layout`, whose base is the dump, asks a
 * checkpoint for.
 */
int wfs_inverse_find(struct wfs_layout *layout, struct wfs_ghosts *ghosts,
		     struct wfs_err *err);

/*
 * `layout` is that of the checkpoint `model`, expanded, its ranks in `ranks`:
 * compares it with the dump and fills the views of `model`.  Those of tensors
 * that are not found whole stay NULL.
 */
int wfs_inverse_fill(const struct wfs_layout *layout,
		     const struct wfs_model *ranks, struct wfs_model *model,
		     struct wfs_err *err);

#endif
