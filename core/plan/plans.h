/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plans there are: the user's, then the built-in ones.
 *
 * A plan is a small text (core/plan/builtin/<name>.plan, weightfs-plan(5)):
 * for which engine, versions, architectures and quantisation it is, and the
 * rules by which tensors of a checkpoint become tensors of a rank.
 */
#ifndef WFS_CORE_PLAN_PLANS_H
#define WFS_CORE_PLAN_PLANS_H

#include <stddef.h>

#include "core/base/err.h"

struct wfs_plan;

struct wfs_plans {
	struct wfs_plan **plans; /* in the order in which they are tried */
	size_t count;
};

/*
 * Reads every *.plan of directory `dir` (NULL: none), then the built-in
 * ones.  A mistake in a user's file: -EINVAL, "<file>:<line>:<column>: …".
 */
int wfs_plans_load(const char *dir, struct wfs_plans *ret_plans,
		   struct wfs_err *err);
/* The one plan whose text this is, called `file` in messages. */
int wfs_plans_parse(const char *text, const char *file,
		    struct wfs_plans *ret_plans, struct wfs_err *err);
void wfs_plans_clear(struct wfs_plans *plans);

/* For `weightfs plan list`. */
const char *wfs_plan_name(const struct wfs_plan *plan);
const char *wfs_plan_file(const struct wfs_plan *plan); /* "built-in" */
/* "vllm >=0.30", "LlamaForCausalLM, …", "none, fp8 …": for people. */
const char *wfs_plan_engine(const struct wfs_plan *plan);
const char *wfs_plan_architectures(const struct wfs_plan *plan);
const char *wfs_plan_quantisations(const struct wfs_plan *plan);

#endif
