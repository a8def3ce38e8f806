/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learning a plan from examples: what an engine has saved of a checkpoint.
 *
 * Where the bytes of each tensor of a dump come from in the checkpoint is
 * found by their bytes; what that means for other numbers of ranks is decided
 * by a short list of hypotheses (weightfs-plan(5), LEARNING), each of which
 * must make the bytes of every example.  What none explains is said by name.
 */
#ifndef WFS_CORE_PLAN_LEARN_LEARN_H
#define WFS_CORE_PLAN_LEARN_LEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/model/model.h"
#include "core/plan/layout.h"

struct wfs_learn_options {
	const char *name; /* of the plan; NULL: made of the architecture */
	/* As wfs_engine_parse takes it, NULL: "vllm"; without a version the
	   plan is for any. */
	const char *engine;
};

struct wfs_learnt {
	struct wfs_text plan; /* its text, comments included */
	char **notes;	      /* sentences: what a hypothesis decided */
	size_t note_count;
	/* Tensors of the dumps that nothing explains, and why. */
	char **unexplained, **reasons;
	size_t unexplained_count;
	uint32_t rules, tensors; /* of the plan, covered by them */
};

/*
 * `dumps` are sharded_state models.  0 also when tensors are left
 * unexplained; -EINVAL with a sentence for examples that cannot be used.
 * The plan is not compared with the examples as a whole yet.  Clear with
 * wfs_learnt_clear.
 */
int wfs_plan_learn(struct wfs_model *base, struct wfs_model *const *dumps,
		   size_t count, const struct wfs_learn_options *options,
		   struct wfs_learnt *ret, struct wfs_err *err);
void wfs_learnt_clear(struct wfs_learnt *learnt);

/* The layout that a dump is of, from the names of its ranks. */
int wfs_learn_spec(const struct wfs_model *dump,
		   struct wfs_layout_spec *ret_spec, struct wfs_err *err);

#endif
