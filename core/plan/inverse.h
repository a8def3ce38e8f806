/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inverse of a plan: the ranks of a layout become the checkpoint again.
 *
 * A dump (what an engine saved, struct wfs_model of WFS_FORMAT_SHARDED_STATE)
 * holds each tensor of the engine in as many parts as there are ranks.  Which
 * tensors the checkpoint had follows from the plan's rules and config.json
 * ("expect" says the shapes that the dump alone does not tell).  The rules are
 * then evaluated over a checkpoint of that description, and each tensor of
 * each rank says of which boxes of which tensors it is made: read backwards,
 * where each box of a tensor of the checkpoint is found.  What several ranks
 * have is taken from the first one; padding and constants are left out.
 *
 * What comes of it is a model like a checkpoint's, one rank "0" of tensors
 * under their names; only these are no slices of files but views (view.h) of
 * the dump's tensors.  A plan over it evaluates to views of these views, which
 * lowering makes pieces of the dump's regions: gathering ranks and cutting
 * them anew is one recipe, and costs no more to read than any other.
 */
#ifndef WFS_CORE_PLAN_INVERSE_H
#define WFS_CORE_PLAN_INVERSE_H

#include "core/plan/layout.h"
#include "core/plan/view.h"

/*
 * The checkpoint of `dump`, which is referenced.  Its name, files and
 * fingerprint are the dump's; it is for wfs_layout_compile, which makes it of
 * a dump by itself.
 *
 * -EINVAL with a sentence when there is no plan, when a tensor of the dump is
 * not what the plan makes, is missing, or is one more, when a constant has
 * another value, when a shape cannot be told, or when the engine whose memory
 * it is (struct wfs_live) has changed it.  That engine chooses the plan, before
 * options->engine.
 */
int wfs_inverse_compile(struct wfs_model *dump,
			const struct wfs_layout_options *options,
			struct wfs_model **ret_checkpoint, struct wfs_err *err);

/* The view of tensor `at` of such a checkpoint; NULL for any other model. */
const struct wfs_view *wfs_inverse_view(const struct wfs_model *model,
					uint32_t at);

#endif
