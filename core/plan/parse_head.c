/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that say what a plan is for, and give names.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/parse.h"

/* Room for one more in an array that doubles; NULL when there is none. */
void *wfs_parse_grow(struct wfs_parser *p, void *array, uint32_t *count,
		     uint32_t limit, size_t size)
{
	char **items = array;

	if (*count == limit) {
		wfs_parse_fail(p, NULL, "more than %u of them", limit);
		return NULL;
	}
	if (!(*count & (*count - 1)))
		*items = wfs_realloc(*items, (*count ? *count * 2 : 1) * size);
	memset(*items + *count * size, 0, size);
	return *items + (*count)++ * size;
}

const char *wfs_parse_name(struct wfs_parser *p, const char *what)
{
	const char *name;

	if (p->word.kind != WFS_WORD_NAME || wfs_word_is_keyword(&p->word)) {
		wfs_parse_fail(p, NULL, "%s expected", what);
		return NULL;
	}
	name = wfs_word_keep(p);
	return wfs_lex_next(p) ? name : NULL;
}

bool wfs_parse_engine(struct wfs_parser *p)
{
	struct wfs_plan *plan = p->plan;

	plan->engine = wfs_parse_name(p, "the name of an engine");
	while (plan->engine && (wfs_word_is(p, ">=") || wfs_word_is(p, "<"))) {
		bool from = wfs_word_is(p, ">=");
		const char **which = from ? &plan->version_from :
					    &plan->version_below;

		if (!wfs_lex_next(p))
			return false;
		if (p->word.kind != WFS_WORD_NUMBER) {
			wfs_parse_fail(p, NULL, "a version expected: >=0.32");
			return false;
		}
		*which = wfs_word_keep(p);
		if (!wfs_lex_next(p))
			return false;
	}
	return plan->engine;
}

bool wfs_parse_architectures(struct wfs_parser *p)
{
	struct wfs_plan *plan = p->plan;

	do {
		const char **a = wfs_parse_grow(p, &plan->architectures,
						&plan->architecture_count,
						WFS_PLAN_NAMES, sizeof(*a));

		if (!a)
			return false;
		*a = wfs_parse_name(p, "the name of an architecture");
		if (!*a)
			return false;
	} while (p->word.kind == WFS_WORD_NAME &&
		 !wfs_word_is_keyword(&p->word));
	return true;
}

bool wfs_parse_quantisation(struct wfs_parser *p)
{
	struct wfs_quantisation q = { 0 }, *to;

	q.name = wfs_parse_name(p, "a name for a quantisation");
	if (!q.name)
		return false;
	if (wfs_word_is(p, "when")) {
		if (!wfs_lex_next(p))
			return false;
		q.when = wfs_parse_expression(p);
		if (!q.when)
			return false;
	}
	to = wfs_parse_grow(p, &p->plan->quantisations,
			    &p->plan->quantisation_count, WFS_PLAN_NAMES,
			    sizeof(*to));
	if (to)
		*to = q;
	return to;
}

static bool taken(struct wfs_parser *p, const struct wfs_word *word)
{
	const struct wfs_plan *plan = p->plan;
	const char *name = NULL;

	for (uint32_t i = 0; i < plan->let_count; i++)
		if (strlen(plan->lets[i].name) == word->len &&
		    !memcmp(plan->lets[i].name, word->s, word->len))
			name = plan->lets[i].name;
	for (uint32_t i = 0; i < plan->def_count; i++)
		if (strlen(plan->defs[i].name) == word->len &&
		    !memcmp(plan->defs[i].name, word->s, word->len))
			name = plan->defs[i].name;
	for (uint32_t i = 0; i < plan->index_count; i++)
		if (strlen(plan->indices[i].name) == word->len &&
		    !memcmp(plan->indices[i].name, word->s, word->len))
			name = plan->indices[i].name;
	if (name)
		wfs_parse_fail(p, word, "'%s' is already something else", name);
	return name;
}

bool wfs_parse_let(struct wfs_parser *p)
{
	struct wfs_let let = { 0 }, *to;
	struct wfs_word word = p->word;

	if (taken(p, &word))
		return false;
	let.name = wfs_parse_name(p, "a name");
	if (!let.name || !wfs_parse_take(p, "="))
		return false;
	let.value = wfs_parse_expression(p);
	if (!let.value)
		return false;
	to = wfs_parse_grow(p, &p->plan->lets, &p->plan->let_count,
			    WFS_PLAN_NAMES, sizeof(*to));
	if (to)
		*to = let;
	return to;
}

static bool parse_params(struct wfs_parser *p)
{
	if (!wfs_word_is(p, "("))
		return true;
	if (!wfs_lex_next(p))
		return false;
	while (!wfs_word_is(p, ")")) {
		if (p->param_count == WFS_PLAN_ARGS) {
			wfs_parse_fail(p, NULL, "more than %u parameters",
				       WFS_PLAN_ARGS);
			return false;
		}
		p->params[p->param_count] =
			wfs_parse_name(p, "a parameter's name");
		if (!p->params[p->param_count++])
			return false;
		if (!wfs_word_is(p, ")") && !wfs_parse_take(p, ","))
			return false;
	}
	return wfs_lex_next(p);
}

/* A def sees what was defined before it: it cannot call itself. */
bool wfs_parse_def(struct wfs_parser *p)
{
	struct wfs_def def = { 0 }, *to;
	struct wfs_word word = p->word;

	if (taken(p, &word))
		return false;
	def.name = wfs_parse_name(p, "a name");
	p->param_count = 0;
	if (!def.name || !parse_params(p) || !wfs_parse_take(p, "="))
		return false;
	def.params = p->param_count;
	def.value = wfs_parse_expression(p);
	p->param_count = 0;
	if (!def.value)
		return false;
	to = wfs_parse_grow(p, &p->plan->defs, &p->plan->def_count,
			    WFS_PLAN_NAMES, sizeof(*to));
	if (to)
		*to = def;
	return to;
}

bool wfs_parse_index(struct wfs_parser *p)
{
	struct wfs_index_name *index;
	struct wfs_word word = p->word;
	const char *name;
	const struct wfs_node *count;

	if (taken(p, &word))
		return false;
	name = wfs_parse_name(p, "a name");
	if (!name || !wfs_parse_take(p, "="))
		return false;
	count = wfs_parse_expression(p);
	if (!count)
		return false;
	if (p->plan->index_count == WFS_PLAN_INDICES) {
		wfs_parse_fail(p, &word, "more than %u indices",
			       WFS_PLAN_INDICES);
		return false;
	}
	index = &p->plan->indices[p->plan->index_count++];
	index->name = name;
	index->count = count;
	return true;
}

/* pipeline l leftover before-last */
bool wfs_parse_pipeline(struct wfs_parser *p)
{
	static const char *const ways[] = { "before_last", "first", "last" };
	const struct wfs_word word = p->word;

	for (uint32_t i = 0; i < p->plan->index_count; i++)
		if (wfs_word_is(p, p->plan->indices[i].name))
			p->plan->pipeline = (int)i;
	if (p->plan->pipeline < 0) {
		wfs_parse_fail(p, &word, "the name of an index expected");
		return false;
	}
	if (!wfs_lex_next(p) || !wfs_parse_take(p, "leftover"))
		return false;
	for (int i = 0; i < 3; i++) {
		if (!wfs_word_is(p, ways[i]))
			continue;
		p->plan->leftover = (enum wfs_leftover)i;
		return wfs_lex_next(p);
	}
	wfs_parse_fail(p, NULL, "'before_last', 'first' or 'last' expected");
	return false;
}

bool wfs_parse_plan(struct wfs_parser *p)
{
	if (p->plan->name) {
		wfs_parse_fail(p, NULL, "a second name");
		return false;
	}
	p->plan->name = wfs_parse_name(p, "the plan's name");
	return p->plan->name;
}
