/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hypotheses on heads.  A share that examples show as a plain split may be of
 * key/value heads, which are repeated once there are more ranks than heads.
 *
 * It is taken for that when it is joined with one that is as much longer as
 * there are more heads than key/value heads (query, key, value), or when the
 * tensor's name says key or value.  A dim that is only as long as all
 * key/value heads together, and as nothing else that config.json names, is
 * split into no more parts than there are such heads, more are refused; unless
 * other tensors are these heads already.
 */
#include <string.h>

#include "core/plan/learn/inner.h"

bool wfs_learn_head_counts(const struct wfs_learn *k, uint64_t *ret_heads,
			   uint64_t *ret_kv, uint64_t *ret_dim)
{
	uint64_t heads = 0, kv = 0, dim = 0, hidden = 0;

	if (!wfs_config_number(k, "num_attention_heads", &heads) || !heads ||
	    !wfs_config_number(k, "num_key_value_heads", &kv) || !kv)
		return false;
	if (!wfs_config_number(k, "head_dim", &dim) &&
	    wfs_config_number(k, "hidden_size", &hidden))
		dim = hidden / heads;
	*ret_heads = heads;
	*ret_kv = kv;
	*ret_dim = dim;
	return true;
}

/* Does the word before the last one, "x.k_proj.weight", say key or value? */
static bool is_named(const char *pattern)
{
	static const char *const words[] = {
		"k_proj", "v_proj", "key", "value",    "k",
		"v",	  "wk",	    "wv",  "key_proj", "value_proj",
	};
	const char *end = strrchr(pattern, '.');
	const char *at = end;

	while (at && at > pattern && at[-1] != '.')
		at--;
	for (size_t i = 0; at && i < sizeof(words) / sizeof(*words); i++)
		if (strlen(words[i]) == (size_t)(end - at) &&
		    !memcmp(words[i], at, (size_t)(end - at)))
			return true;
	return false;
}

/* Is it joined with a piece as much longer as there are more heads? */
static bool is_joined(const struct wfs_learnt_rule *rule, uint32_t piece,
		      unsigned dim, uint64_t heads, uint64_t kv)
{
	uint64_t len = rule->pieces[piece].len[dim];

	for (uint32_t i = 0; i < rule->count && dim == rule->dim; i++)
		if (rule->pieces[i].ndim == rule->pieces[piece].ndim &&
		    rule->pieces[i].len[dim] * kv == len * heads)
			return true;
	return false;
}

/* Does config.json call the length something else? */
static bool is_other(const struct wfs_learn *k, uint64_t len)
{
	yyjson_val *root = yyjson_doc_get_root(k->config.doc), *key;
	yyjson_obj_iter it = yyjson_obj_iter_with(root);

	while ((key = yyjson_obj_iter_next(&it)))
		if (yyjson_is_uint(yyjson_obj_iter_get_val(key)) &&
		    yyjson_get_uint(yyjson_obj_iter_get_val(key)) == len)
			return true;
	return false;
}

void wfs_learn_heads(struct wfs_learn *k, const struct wfs_member *m,
		     struct wfs_learnt_rule *rule)
{
	uint64_t heads, kv, dim;
	struct wfs_learnt_piece before[WFS_LEARN_PIECES];
	bool any = false;

	if (!wfs_learn_head_counts(k, &heads, &kv, &dim) || kv >= heads ||
	    rule->pad)
		return;
	memcpy(before, rule->pieces, rule->count * sizeof(*before));
	for (uint32_t i = 0; i < rule->count; i++)
		for (unsigned d = 0; d < rule->pieces[i].ndim; d++) {
			struct wfs_learnt_piece *p = &rule->pieces[i];

			/* One head alone is whole on every rank. */
			if (p->how[d] !=
				    (kv > 1 ? WFS_HOW_SPLIT : WFS_HOW_WHOLE) ||
			    p->len[d] % kv)
				continue;
			if (is_joined(rule, i, d, heads, kv) ||
			    (rule->count == 1 && is_named(p->source) && kv > 1))
				p->how[d] = WFS_HOW_HEADS;
			else if (rule->count == 1 && kv > 1 &&
				 p->len[d] == kv * dim &&
				 !is_other(k, p->len[d]))
				p->how[d] = WFS_HOW_PARTS;
			else
				continue;
			any = true;
		}
	if (any && wfs_rule_matches(k, rule, m) <= 0)
		memcpy(rule->pieces, before, rule->count * sizeof(*before));
}

/* Does any rule say how key/value heads are shared out? */
bool wfs_learn_knows_heads(const struct wfs_learn *k)
{
	for (uint32_t r = 0; r < k->rule_count; r++)
		for (uint32_t i = 0; i < k->rules[r].count; i++)
			for (unsigned d = 0; d < WFS_VIEW_DIMS; d++)
				if (k->rules[r].pieces[i].how[d] ==
				    WFS_HOW_HEADS)
					return true;
	return false;
}

void wfs_learn_trust_heads(struct wfs_learn *k)
{
	if (!wfs_learn_knows_heads(k))
		return;
	for (uint32_t r = 0; r < k->rule_count; r++)
		for (uint32_t i = 0; i < k->rules[r].count; i++)
			for (unsigned d = 0; d < WFS_VIEW_DIMS; d++)
				if (k->rules[r].pieces[i].how[d] ==
				    WFS_HOW_PARTS)
					k->rules[r].pieces[i].how[d] =
						WFS_HOW_SPLIT;
}

/* A pattern for people. */
static const char *shown(struct wfs_learn *k, const char *pattern)
{
	char *s = wfs_pool_text(&k->pool, pattern, strlen(pattern));

	for (char *c = s; *c; c++)
		if (*c == WFS_AT_LAYER || *c == WFS_AT_STACK ||
		    *c == WFS_AT_SECOND)
			*c = '*';
	return s;
}

static void note_share(struct wfs_learn *k, const struct wfs_learnt_rule *rule,
		       const struct wfs_learnt_piece *p, unsigned d)
{
	if (p->how[d] == WFS_HOW_HEADS)
		wfs_learn_note(k,
			       "'%s': dim %u of '%s' is key/value heads "
			       "(config.num_key_value_heads): split, repeated "
			       "where ranks are more",
			       shown(k, rule->target), d, shown(k, p->source));
	else if (p->how[d] == WFS_HOW_PARTS)
		wfs_learn_note(k,
			       "'%s': dim %u of '%s' may be key/value heads: "
			       "split, refused where ranks are more than "
			       "config.num_key_value_heads",
			       shown(k, rule->target), d, shown(k, p->source));
}

void wfs_learn_note_rule(struct wfs_learn *k,
			 const struct wfs_learnt_rule *rule)
{
	if (rule->pad)
		wfs_learn_note(
			k,
			"'%s': dim %u is padded with zeros to a multiple "
			"of %llu%s, the first of those known that fits",
			shown(k, rule->target), rule->pad_dim,
			(unsigned long long)rule->pad,
			rule->pad_by_tp ? " * tp" : "");
	if (rule->first_only)
		wfs_learn_note(k, "'%s': rank 0 has it, the others zeros",
			       shown(k, rule->target));
	for (uint32_t i = 0; i < rule->count; i++)
		for (unsigned d = 0; d < rule->pieces[i].ndim; d++)
			note_share(k, rule, &rule->pieces[i], d);
	if (rule->when == WFS_WHEN_LISTED)
		wfs_learn_note(k,
			       "'%s': only in the layers that the examples "
			       "have it in: no tensor of the checkpoint tells "
			       "which",
			       shown(k, rule->target));
}
