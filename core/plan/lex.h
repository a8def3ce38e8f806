/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a plan's text, and the state of its parser.
 */
#ifndef WFS_CORE_PLAN_LEX_H
#define WFS_CORE_PLAN_LEX_H

#include "core/plan/plan.h"

enum wfs_word_kind {
	WFS_WORD_END,
	WFS_WORD_NAME,	 /* letters, digits, '_' */
	WFS_WORD_NUMBER, /* digits, dots between them */
	WFS_WORD_TEXT,	 /* quoted, without the quotes */
	WFS_WORD_SIGN,	 /* one or two characters */
};

struct wfs_word {
	enum wfs_word_kind kind;
	const char *s;
	uint32_t len;
	uint32_t line, column;
};

struct wfs_parser {
	struct wfs_plan *plan;
	const char *file;
	const char *at, *line_start;
	uint32_t line;
	struct wfs_word word; /* the one looked at */
	uint32_t depth, nodes, includes;
	const char *params[WFS_PLAN_ARGS]; /* of the def being read */
	uint32_t param_count;
	bool used_rank; /* since it was last cleared */
	/* indices seen in the text that is being read */
	uint32_t seen_count;
	uint8_t seen[WFS_PLAN_INDICES];
	struct wfs_err *err;
};

/* Moves to the next word; false after an error was set. */
bool wfs_lex_next(struct wfs_parser *p);
bool wfs_word_is(const struct wfs_parser *p, const char *text);
/* The word's text, kept in the plan's pool. */
char *wfs_word_keep(struct wfs_parser *p);
/* Sets the error at the word looked at (or at `word`). */
int wfs_parse_fail(struct wfs_parser *p, const struct wfs_word *word,
		   const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* syntax.c: NULL after an error was set. */
const struct wfs_node *wfs_parse_expression(struct wfs_parser *p);
/* A text with its places; the word looked at is one. */
const struct wfs_node *wfs_parse_template(struct wfs_parser *p);
/* What a name means here; NULL, silently, if nothing. */
struct wfs_node *wfs_parse_resolve(struct wfs_parser *p, const char *s,
				   uint32_t len);
struct wfs_node *wfs_node_new(struct wfs_parser *p, enum wfs_node_kind kind);
void wfs_node_set_args(struct wfs_parser *p, struct wfs_node *n,
		       const struct wfs_node **args, uint32_t count);
const struct wfs_node *wfs_node_and(struct wfs_parser *p,
				    const struct wfs_node *a,
				    const struct wfs_node *b);

/* Takes the sign or word `text`, or says what was there instead. */
bool wfs_parse_take(struct wfs_parser *p, const char *text);
bool wfs_word_same(const char *name, const char *s, uint32_t len);
bool wfs_word_is_keyword(const struct wfs_word *word);

#endif
