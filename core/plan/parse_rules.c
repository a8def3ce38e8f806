/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that are rules: what becomes of tensors, and what must hold.
 */
#include <string.h>

#include "core/plan/parse.h"

/* A text that names tensors, and the indices in it. */
static const struct wfs_node *parse_target(struct wfs_parser *p,
					   uint8_t *ret_count, uint8_t *ret)
{
	const struct wfs_word word = p->word;
	const struct wfs_node *n;

	p->seen_count = 0;
	n = wfs_parse_template(p);
	if (!n)
		return NULL;
	if (p->seen_count > WFS_PLAN_BINDINGS) {
		wfs_parse_fail(p, &word, "more than %u indices in a name",
			       WFS_PLAN_BINDINGS);
		return NULL;
	}
	for (uint32_t i = 0; i < p->seen_count; i++)
		ret[i] = p->seen[i];
	*ret_count = (uint8_t)p->seen_count;
	return n;
}

static bool parse_stage(struct wfs_parser *p, struct wfs_rule *rule)
{
	static const char *const stages[] = { "first", "last", "all" };

	for (int i = 0; i < 3; i++) {
		if (!wfs_word_is(p, stages[i]))
			continue;
		rule->stage = (enum wfs_stage)(WFS_STAGE_FIRST + i);
		return wfs_lex_next(p);
	}
	wfs_parse_fail(p, NULL, "'first', 'last' or 'all' expected");
	return false;
}

bool wfs_parse_condition(struct wfs_parser *p, const struct wfs_node **when)
{
	const struct wfs_node *n = wfs_parse_expression(p);

	if (n)
		*when = wfs_node_and(p, *when, n);
	return n && *when;
}

static bool parse_option(struct wfs_parser *p, struct wfs_rule *rule)
{
	bool stage = wfs_word_is(p, "stage"), as = wfs_word_is(p, "as");
	bool storage = wfs_word_is(p, "storage"), when = wfs_word_is(p, "when");
	bool optional = wfs_word_is(p, "optional");

	if (!stage && !as && !storage && !when && !optional) {
		wfs_parse_fail(p, NULL,
			       "'=' or an option (stage, storage, as, "
			       "when, optional) expected, not '%.*s'",
			       (int)(p->word.len > 60 ? 60 : p->word.len),
			       p->word.s);
		return false;
	}
	if (!wfs_lex_next(p))
		return false;
	if (stage)
		return parse_stage(p, rule);
	if (as)
		return (rule->as = wfs_parse_expression(p));
	if (storage)
		return (rule->storage = wfs_parse_name(p, "a storage's name"));
	if (when)
		return wfs_parse_condition(p, &rule->when);
	rule->optional = true;
	return true;
}

static bool in_pipeline(const struct wfs_parser *p, const struct wfs_rule *r)
{
	for (uint8_t i = 0; i < r->index_count; i++)
		if (r->indices[i] == p->plan->pipeline)
			return true;
	return false;
}

bool wfs_parse_tensor(struct wfs_parser *p, struct wfs_place in)
{
	struct wfs_rule rule = { .when = in.when }, *to;
	const struct wfs_word word = p->word;

	rule.line = word.line;
	rule.target = parse_target(p, &rule.index_count, rule.indices);
	if (!rule.target)
		return false;
	while (!wfs_word_is(p, "="))
		if (!parse_option(p, &rule))
			return false;
	if (!wfs_lex_next(p))
		return false;
	p->used_rank = false;
	rule.value = wfs_parse_expression(p);
	rule.uses_rank = p->used_rank;
	if (!rule.value)
		return false;
	if (!in_pipeline(p, &rule) && !rule.stage) {
		wfs_parse_fail(p, &word,
			       "a tensor without a layer needs a "
			       "stage: 'stage first', 'last' or 'all'");
		return false;
	}
	to = wfs_parse_grow(p, &p->plan->rules, &p->plan->rule_count,
			    WFS_PLAN_RULES, sizeof(*to));
	if (to)
		*to = rule;
	return to;
}

bool wfs_parse_drop(struct wfs_parser *p, struct wfs_place in)
{
	struct wfs_drop drop = { .when = in.when }, *to;

	drop.pattern = wfs_parse_template(p);
	if (!drop.pattern)
		return false;
	while (wfs_word_is(p, "optional") || wfs_word_is(p, "when")) {
		bool when = wfs_word_is(p, "when");

		if (!wfs_lex_next(p) ||
		    (when && !wfs_parse_condition(p, &drop.when)))
			return false;
		drop.optional |= !when;
	}
	to = wfs_parse_grow(p, &p->plan->drops, &p->plan->drop_count,
			    WFS_PLAN_RULES, sizeof(*to));
	if (to)
		*to = drop;
	return to;
}

bool wfs_parse_expect(struct wfs_parser *p, struct wfs_place in)
{
	struct wfs_expect e = { .when = in.when }, *to;

	e.target = parse_target(p, &e.index_count, e.indices);
	if (!e.target)
		return false;
	e.shape = wfs_parse_expression(p);
	if (!e.shape)
		return false;
	if (wfs_word_is(p, "when") &&
	    (!wfs_lex_next(p) || !wfs_parse_condition(p, &e.when)))
		return false;
	to = wfs_parse_grow(p, &p->plan->expects, &p->plan->expect_count,
			    WFS_PLAN_RULES, sizeof(*to));
	if (to)
		*to = e;
	return to;
}

bool wfs_parse_mend(struct wfs_parser *p, struct wfs_place in)
{
	struct wfs_mend m = { .when = in.when }, *to;

	m.path = wfs_parse_template(p);
	if (!m.path)
		return false;
	if (wfs_word_is(p, "when") &&
	    (!wfs_lex_next(p) || !wfs_parse_condition(p, &m.when)))
		return false;
	if (!wfs_parse_take(p, "="))
		return false;
	m.value = wfs_parse_expression(p);
	if (!m.value)
		return false;
	to = wfs_parse_grow(p, &p->plan->mends, &p->plan->mend_count,
			    WFS_PLAN_RULES, sizeof(*to));
	if (to)
		*to = m;
	return to;
}

bool wfs_parse_require(struct wfs_parser *p, struct wfs_place in)
{
	struct wfs_require r = { .when = in.when }, *to;

	r.condition = wfs_parse_expression(p);
	if (!r.condition || !wfs_parse_take(p, "otherwise"))
		return false;
	r.sentence = wfs_parse_template(p);
	if (!r.sentence)
		return false;
	to = wfs_parse_grow(p, &p->plan->requires, &p->plan->require_count,
			    WFS_PLAN_RULES, sizeof(*to));
	if (to)
		*to = r;
	return to;
}
