/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements of a plan.  Each begins with a keyword, so line ends mean
 * nothing; `when CONDITION { … }` puts its condition on all that it holds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/parse.h"

#define MAX_INCLUDES 8u
#define FRAGMENT     ".fragment"

static bool parse_statements(struct wfs_parser *p, struct wfs_place in);

static bool parse_when(struct wfs_parser *p, struct wfs_place in)
{
	if (++in.depth > WFS_PLAN_DEPTH) {
		wfs_parse_fail(p, NULL, "nested more than %u deep",
			       WFS_PLAN_DEPTH);
		return false;
	}
	return wfs_parse_condition(p, &in.when) && wfs_parse_take(p, "{") &&
	       parse_statements(p, in) && wfs_parse_take(p, "}");
}

static bool read_text(struct wfs_parser *p, const char *text);

/* include "name": a built-in fragment, as if it stood here. */
static bool parse_include(struct wfs_parser *p)
{
	const struct wfs_builtin_plan *b = wfs_builtin_plans;
	struct wfs_parser outer = *p;
	char name[128];
	bool ok;

	if (p->word.kind != WFS_WORD_TEXT) {
		wfs_parse_fail(p, NULL, "a fragment's name in quotes expected");
		return false;
	}
	for (; b->name; b++)
		if (strlen(b->name) == p->word.len + strlen(FRAGMENT) &&
		    !memcmp(b->name, p->word.s, p->word.len) &&
		    !strcmp(b->name + p->word.len, FRAGMENT))
			break;
	if (!b->name || p->includes == MAX_INCLUDES) {
		wfs_parse_fail(p, NULL,
			       b->name ? "includes nested more than 8 "
					 "deep" :
					 "no built-in fragment of this name");
		return false;
	}
	snprintf(name, sizeof(name), "built-in/%s", b->name);
	p->includes++;
	/* Nodes keep it. */
	p->file = wfs_pool_text(&p->plan->pool, name, strlen(name));
	ok = read_text(p, b->text);
	p->includes--;
	p->file = outer.file;
	p->at = outer.at;
	p->line = outer.line;
	p->line_start = outer.line_start;
	p->word = outer.word;
	return ok && wfs_lex_next(p);
}

static bool parse_statement(struct wfs_parser *p, struct wfs_place in)
{
	const struct wfs_word word = p->word;
	struct wfs_parser as = { .word = word };
	bool inner = in.depth > 0;

	if (!wfs_word_is_keyword(&word)) {
		wfs_parse_fail(p, NULL, "a statement expected, not '%.*s'",
			       (int)(word.len > 60 ? 60 : word.len), word.s);
		return false;
	}
	if (!wfs_lex_next(p))
		return false;
	if (wfs_word_is(&as, "tensor"))
		return wfs_parse_tensor(p, in);
	if (wfs_word_is(&as, "drop"))
		return wfs_parse_drop(p, in);
	if (wfs_word_is(&as, "expect"))
		return wfs_parse_expect(p, in);
	if (wfs_word_is(&as, "require"))
		return wfs_parse_require(p, in);
	if (wfs_word_is(&as, "mend"))
		return wfs_parse_mend(p, in);
	if (wfs_word_is(&as, "when"))
		return parse_when(p, in);
	if (!inner && wfs_word_is(&as, "plan"))
		return wfs_parse_plan(p);
	if (!inner && wfs_word_is(&as, "engine"))
		return wfs_parse_engine(p);
	if (!inner && wfs_word_is(&as, "architectures"))
		return wfs_parse_architectures(p);
	if (!inner && wfs_word_is(&as, "quantisation"))
		return wfs_parse_quantisation(p);
	if (!inner && wfs_word_is(&as, "include"))
		return parse_include(p);
	if (!inner && wfs_word_is(&as, "let"))
		return wfs_parse_let(p);
	if (!inner && wfs_word_is(&as, "def"))
		return wfs_parse_def(p);
	if (!inner && wfs_word_is(&as, "index"))
		return wfs_parse_index(p);
	if (!inner && wfs_word_is(&as, "pipeline"))
		return wfs_parse_pipeline(p);
	wfs_parse_fail(p, &word, "'%.*s' cannot stand here", (int)word.len,
		       word.s);
	return false;
}

static bool parse_statements(struct wfs_parser *p, struct wfs_place in)
{
	while (p->word.kind != WFS_WORD_END && !wfs_word_is(p, "}"))
		if (!parse_statement(p, in))
			return false;
	return true;
}

static bool read_text(struct wfs_parser *p, const char *text)
{
	struct wfs_place top = { 0 };
	const char *nul = text;

	p->plan->hash = wfs_hash(nul, strlen(nul), p->plan->hash);
	p->at = p->line_start = text;
	p->line = 1;
	if (!wfs_lex_next(p) || !parse_statements(p, top))
		return false;
	if (p->word.kind == WFS_WORD_END)
		return true;
	wfs_parse_fail(p, NULL, "a statement expected, not '}'");
	return false;
}

static bool check_whole(struct wfs_parser *p)
{
	const struct wfs_plan *plan = p->plan;
	const char *gone = !plan->name		     ? "plan NAME" :
			   !plan->engine	     ? "engine NAME" :
			   !plan->architecture_count ? "architectures NAME …" :
			   !plan->quantisation_count ? "quantisation NAME …" :
			   !plan->rule_count && !plan->builtin ? "tensor …" :
								 NULL;

	if (gone)
		wfs_parse_fail(p, NULL, "the plan has no statement '%s'", gone);
	return !gone;
}

int wfs_plan_parse(const char *text, const char *file, bool builtin,
		   struct wfs_plan **ret_plan, struct wfs_err *err)
{
	struct wfs_plan *plan = wfs_calloc(1, sizeof(*plan));
	struct wfs_parser p = { .plan = plan, .err = err };

	atomic_init(&plan->refs, 1);
	plan->pipeline = -1;
	plan->hash = WFS_HASH_SEED;
	plan->builtin = builtin;
	plan->indices = wfs_calloc(WFS_PLAN_INDICES, sizeof(*plan->indices));
	plan->file = wfs_pool_text(&plan->pool, file, strlen(file));
	p.file = plan->file;
	if (!read_text(&p, text) || !check_whole(&p)) {
		wfs_plan_put(plan);
		return -EINVAL;
	}
	*ret_plan = plan;
	return 0;
}
