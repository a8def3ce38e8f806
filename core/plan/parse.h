/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements, for the table of parse.c.  Each is false after an error was
 * set, and begins at the word after its keyword.
 */
#ifndef WFS_CORE_PLAN_PARSE_H
#define WFS_CORE_PLAN_PARSE_H

#include "core/plan/lex.h"

struct wfs_place {
	const struct wfs_node *when; /* of the blocks around */
	unsigned depth;
};

bool wfs_parse_plan(struct wfs_parser *p);
bool wfs_parse_engine(struct wfs_parser *p);
bool wfs_parse_architectures(struct wfs_parser *p);
bool wfs_parse_quantisation(struct wfs_parser *p);
bool wfs_parse_let(struct wfs_parser *p);
bool wfs_parse_def(struct wfs_parser *p);
bool wfs_parse_index(struct wfs_parser *p);
bool wfs_parse_pipeline(struct wfs_parser *p);

bool wfs_parse_tensor(struct wfs_parser *p, struct wfs_place in);
bool wfs_parse_drop(struct wfs_parser *p, struct wfs_place in);
bool wfs_parse_expect(struct wfs_parser *p, struct wfs_place in);
bool wfs_parse_require(struct wfs_parser *p, struct wfs_place in);
bool wfs_parse_mend(struct wfs_parser *p, struct wfs_place in);

/* Adds a condition to those that there are. */
bool wfs_parse_condition(struct wfs_parser *p, const struct wfs_node **when);
/* Room for one more in `array` (a pointer to a pointer), which doubles; NULL
   when there is none. */
void *wfs_parse_grow(struct wfs_parser *p, void *array, uint32_t *count,
		     uint32_t limit, size_t size);
/* A name that is no keyword; `what` for the message. */
const char *wfs_parse_name(struct wfs_parser *p, const char *what);

#endif
