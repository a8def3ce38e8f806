/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in the words of config.json, so that a plan learnt from one model
 * fits others of its family; digits where it has no word for them.
 */
#include <inttypes.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/learn/inner.h"

const char *const wfs_expert_counts[] = {
	"num_experts",	   "num_local_experts", "n_routed_experts",
	"moe_num_experts", "num_moe_experts",	NULL
};

bool wfs_config_number(const struct wfs_learn *k, const char *key,
		       uint64_t *ret)
{
	yyjson_val *v =
		wfs_config_find(yyjson_doc_get_root(k->config.doc), key);

	if (!yyjson_is_uint(v))
		return false;
	*ret = yyjson_get_uint(v);
	return true;
}

static bool ends_with(const char *s, const char *tail)
{
	size_t len = strlen(s), n = strlen(tail);

	return len >= n && !strcmp(s + len - n, tail);
}

/* A name of the language, so that it can be asked for. */
static bool is_word(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";

	return *s && strchr(letters, *s) &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz"
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == strlen(s);
}

void wfs_number_text(const struct wfs_learn *k, uint64_t n,
		     const char *const *wanted, struct wfs_text *text)
{
	uint64_t value;

	for (; *wanted; wanted++)
		if (wfs_config_number(k, *wanted, &value) && value == n) {
			wfs_text_add(text, "config.%s", *wanted);
			return;
		}
	wfs_text_add(text, "%" PRIu64, n);
}

/* All heads' rows, or those of key or value. */
static bool heads_text(const struct wfs_learn *k, uint64_t n,
		       struct wfs_text *text)
{
	uint64_t heads, kv, dim, value;
	const char *head_dim = "config.head_dim";

	if (!wfs_learn_head_counts(k, &heads, &kv, &dim) || !dim)
		return false;
	if (n != heads * dim && n != kv * dim)
		return false;
	if (!wfs_config_number(k, "head_dim", &value))
		head_dim = "config.hidden_size / config.num_attention_heads";
	wfs_text_add(text, "config.num_%s_heads * %s%s%s",
		     n == heads * dim ? "attention" : "key_value",
		     strchr(head_dim, '/') ? "(" : "", head_dim,
		     strchr(head_dim, '/') ? ")" : "");
	return true;
}

/* A size that config.json has under one name alone. */
static bool size_text(const struct wfs_learn *k, uint64_t n,
		      struct wfs_text *text)
{
	yyjson_val *root = yyjson_doc_get_root(k->config.doc), *key;
	yyjson_obj_iter it = yyjson_obj_iter_with(root);
	const char *found = NULL;

	while ((key = yyjson_obj_iter_next(&it))) {
		yyjson_val *v = yyjson_obj_iter_get_val(key);
		const char *name = yyjson_get_str(key);

		if (!yyjson_is_uint(v) || yyjson_get_uint(v) != n ||
		    !is_word(name) ||
		    !(ends_with(name, "_size") || ends_with(name, "_dim") ||
		      ends_with(name, "_rank")))
			continue;
		if (found)
			return false;
		found = name;
	}
	if (found)
		wfs_text_add(text, "config.%s", found);
	return found;
}

/* How many pieces take an equal part of this one's source; 0: not so. */
static uint64_t equal_parts(const struct wfs_learnt_rule *rule, uint32_t piece,
			    unsigned dim)
{
	const struct wfs_learnt_piece *p = &rule->pieces[piece];
	uint64_t n = 0;

	for (uint32_t i = 0; i < rule->count; i++)
		if (!strcmp(rule->pieces[i].source, p->source)) {
			if (rule->pieces[i].len[dim] != p->len[dim])
				return 0;
			n++;
		}
	return n > 1 && n * p->len[dim] == p->full[dim] ? n : 0;
}

bool wfs_region_text(const struct wfs_learn *k,
		     const struct wfs_learnt_rule *rule, uint32_t piece,
		     unsigned dim, struct wfs_text *text)
{
	const struct wfs_learnt_piece *p = &rule->pieces[piece];
	uint64_t parts = equal_parts(rule, piece, dim);

	if (parts && !p->merged && !strchr(p->source, WFS_AT_STACK) &&
	    !rule->second) {
		size_t at = text->len;

		wfs_text_add(text, "dim(\"%s\", %u) / %" PRIu64, p->source, dim,
			     parts);
		/* The index by its name. */
		for (char *c = text->data + at; *c; c++)
			if (*c == WFS_AT_LAYER) {
				char *tail wfs_autofree = wfs_strdup(c + 1);

				text->len = (size_t)(c - text->data);
				wfs_text_add(text, "{%s}%s",
					     k->domains[rule->domain].name,
					     tail);
				break;
			}
		return true;
	}
	if (heads_text(k, p->len[dim], text) || size_text(k, p->len[dim], text))
		return true;
	wfs_text_add(text, "%" PRIu64, p->len[dim]);
	return false;
}
