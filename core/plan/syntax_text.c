/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, and texts with names in braces.
 */
#include <string.h>

#include "core/plan/lex.h"

static const char *const builtins[WFS_BUILTIN_COUNT] = {
	[WFS_BUILTIN_TP] = "tp",
	[WFS_BUILTIN_PP] = "pp",
	[WFS_BUILTIN_RANK] = "rank",
	[WFS_BUILTIN_STAGE] = "stage_number",
	[WFS_BUILTIN_ARCHITECTURE] = "architecture",
	[WFS_BUILTIN_QUANTISATION] = "quantised",
};

static void see_index(struct wfs_parser *p, int slot)
{
	for (uint32_t i = 0; i < p->seen_count; i++)
		if (p->seen[i] == slot)
			return;
	if (p->seen_count < WFS_PLAN_INDICES)
		p->seen[p->seen_count++] = (uint8_t)slot;
}

/* What a name means here: NULL, silently, if nothing. */
struct wfs_node *wfs_parse_resolve(struct wfs_parser *p, const char *s,
				   uint32_t len)
{
	const struct wfs_plan *plan = p->plan;
	enum wfs_node_kind kind = WFS_NODE_NULL;
	int slot = -1;
	struct wfs_node *n;

	for (uint32_t i = 0; i < p->param_count; i++)
		if (wfs_word_same(p->params[i], s, len))
			kind = WFS_NODE_PARAM, slot = (int)i;
	for (uint32_t i = plan->index_count; slot < 0 && i-- > 0;)
		if (wfs_word_same(plan->indices[i].name, s, len))
			kind = WFS_NODE_INDEX, slot = (int)i;
	for (uint32_t i = 0; slot < 0 && i < plan->let_count; i++)
		if (wfs_word_same(plan->lets[i].name, s, len))
			kind = WFS_NODE_LET, slot = (int)i;
	for (uint32_t i = 0; slot < 0 && i < plan->def_count; i++)
		if (wfs_word_same(plan->defs[i].name, s, len) &&
		    !plan->defs[i].params)
			kind = WFS_NODE_CALL, slot = (int)i;
	for (int i = 0; slot < 0 && i < WFS_BUILTIN_COUNT; i++)
		if (wfs_word_same(builtins[i], s, len))
			kind = WFS_NODE_BUILTIN, slot = i;
	if (slot < 0)
		return NULL;
	n = wfs_node_new(p, kind);
	if (!n)
		return NULL;
	n->slot = slot;
	if (kind == WFS_NODE_INDEX)
		see_index(p, slot);
	if (kind == WFS_NODE_BUILTIN && slot == WFS_BUILTIN_RANK)
		p->used_rank = true;
	return n;
}

static const struct wfs_node *literal(struct wfs_parser *p, const char *s,
				      size_t len)
{
	struct wfs_node *n = wfs_node_new(p, WFS_NODE_TEXT);

	if (n)
		n->text = wfs_pool_text(&p->plan->pool, s, len);
	return n;
}

const struct wfs_node *wfs_parse_template(struct wfs_parser *p)
{
	const struct wfs_node *parts[2 * WFS_PLAN_ARGS];
	const struct wfs_word word = p->word;
	const char *s = word.s, *end = s + word.len;
	uint32_t count = 0;
	struct wfs_node *n;

	if (word.kind != WFS_WORD_TEXT) {
		wfs_parse_fail(p, NULL, "a text in quotes expected, not '%.*s'",
			       (int)(word.len > 60 ? 60 : word.len), word.s);
		return NULL;
	}
	while (s < end) {
		const char *open = memchr(s, '{', (size_t)(end - s));
		const char *close;

		if (count + 2 > 2 * WFS_PLAN_ARGS) {
			wfs_parse_fail(p, &word, "more than %u places",
				       WFS_PLAN_ARGS);
			return NULL;
		}
		if (!open || open > s) {
			const char *stop = open ? open : end;

			parts[count] = literal(p, s, (size_t)(stop - s));
			if (!parts[count++])
				return NULL;
			s = stop;
			continue;
		}
		close = memchr(open, '}', (size_t)(end - open));
		parts[count] = close ? wfs_parse_resolve(
					       p, open + 1,
					       (uint32_t)(close - open - 1)) :
				       NULL;
		if (!parts[count++]) {
			wfs_parse_fail(p, &word,
				       "no index or parameter "
				       "'%.*s'",
				       close ? (int)(close - open - 1) : 0,
				       open + 1);
			return NULL;
		}
		s = close + 1;
	}
	n = wfs_node_new(p, WFS_NODE_TEXT);
	if (!n || !wfs_lex_next(p))
		return NULL;
	if (count > 1 || (count && parts[0]->kind != WFS_NODE_TEXT))
		wfs_node_set_args(p, n, parts, count);
	else
		n->text = count ? parts[0]->text : "";
	return n;
}
