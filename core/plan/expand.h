/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expanding rules, between expand.c and expand_check.c.
 */
#ifndef WFS_CORE_PLAN_EXPAND_H
#define WFS_CORE_PLAN_EXPAND_H

#include "core/plan/inner.h"

struct wfs_expand {
	struct wfs_layout *layout;
	struct wfs_eval e;
	struct wfs_pool scratch;
	uint32_t since_clear;
	uint64_t layers; /* values of the pipeline's index */
	uint32_t cap;
	/* what part_found adds to */
	const struct wfs_rule *rule;
	struct wfs_target now;
	int rc;
	bool padded; /* `hf`: what was found is, in the rule */
};

typedef int (*wfs_binding_fn)(struct wfs_expand *x, const void *item);

/* Adds a target like `now`, unless it has no elements. */
int wfs_expand_add(struct wfs_expand *x, const char *name,
		   const struct wfs_view *view);
/* "require": 0, or the sentence of the first that does not hold. */
int wfs_expand_requires(struct wfs_expand *x);
/* "expect", for one binding of its indices. */
int wfs_expand_expect(struct wfs_expand *x, const void *item);
/* Fills layers; fewer than stages are refused. */
int wfs_expand_layers(struct wfs_expand *x);
/* Applies "drop"; a tensor that then is left is refused.  In `hf` nothing is
   dropped, and what is left is there whole. */
int wfs_expand_covered(struct wfs_expand *x);

#endif
