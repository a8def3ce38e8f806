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

/* `fn` for every value of the indices, which are bound meanwhile. */
int wfs_expand_bindings(struct wfs_expand *x, const uint8_t *indices,
			uint8_t count, wfs_binding_fn fn, const void *item);
/* On which stages a tensor of the rule is, into `now`. */
void wfs_expand_stages(struct wfs_expand *x, const struct wfs_rule *rule);
/* Adds a target like `now`, unless it has no elements. */
int wfs_expand_add(struct wfs_expand *x, const char *name,
		   const struct wfs_view *view);
/* "require": 0, or the sentence of the first that does not hold. */
int wfs_expand_requires(struct wfs_expand *x);
/* "expect", for one binding of its indices. */
int wfs_expand_expect(struct wfs_expand *x, const void *item);
/* What a drop is of, indices standing for any number; NULL: of nothing here. */
int wfs_expand_pattern(struct wfs_expand *x, const struct wfs_drop *drop,
		       const char **ret_pattern);
/* Adds it as the plan has it, but for the names of its indices. */
void wfs_expand_show(const char *pattern, struct wfs_text *text);
/* Fills layers; fewer than stages are refused. */
int wfs_expand_layers(struct wfs_expand *x);
/* Applies "drop"; a tensor that then is left is refused.  In `hf` nothing is
   dropped, and what is left is there whole. */
int wfs_expand_covered(struct wfs_expand *x);

#endif
