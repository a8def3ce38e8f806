/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of a plan's text: write.c, write_head.c, write_value.c.
 */
#ifndef WFS_CORE_PLAN_LEARN_WRITE_H
#define WFS_CORE_PLAN_LEARN_WRITE_H

#include "core/plan/learn/inner.h"

/* Can the name stand in a plan? */
bool wfs_write_possible(const char *pattern);
/* A pattern as a text, in quotes. */
void wfs_write_name(const struct wfs_learn *k,
		    const struct wfs_learnt_rule *rule, const char *pattern,
		    struct wfs_text *text);

/* write_head.c: name, engine, architecture, quantisation. */
int wfs_write_head(struct wfs_learn *k, struct wfs_text *text);

/* write_value.c: the expression, and the shapes that its digits rest on. */
void wfs_write_value(const struct wfs_learn *k,
		     const struct wfs_learnt_rule *rule, struct wfs_text *text);
void wfs_write_expects(const struct wfs_learn *k,
		       const struct wfs_learnt_rule *rule,
		       struct wfs_text *text);
/* The number of a constant; false if it has no digits.  `text` or NULL. */
bool wfs_write_number(const struct wfs_learnt_rule *rule,
		      struct wfs_text *text);

#endif
