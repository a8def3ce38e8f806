/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rule for many layers.
 *
 * A rule is derived from the last layer of a group and tried on all of them;
 * those that it does not make get a rule of their own, and both say which
 * layers they are for: by what is in the checkpoint, if that tells.
 */
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

#define SMALL 4096u /* elements: names are asked before bytes */

typedef int propose_fn(struct wfs_learn *k, const struct wfs_group *g,
		       const struct wfs_member *m, struct wfs_learnt_rule *ret);

/*
 * Norms of ones and biases of zeros are in the checkpoint, too: what has the
 * same value everywhere is a constant only if no tensor there is the same.
 * Scalars are taken for constants.
 */
static int constant_or_source(struct wfs_learn *k, const struct wfs_group *g,
			      const struct wfs_member *m,
			      struct wfs_learnt_rule *ret)
{
	struct wfs_learnt_rule source;
	int rc = wfs_learn_propose_constant(k, g, m, ret);

	if (rc <= 0 || g->elements < 2)
		return rc;
	rc = wfs_learn_propose_small(k, g, m, &source);
	if (rc <= 0)
		return rc < 0 ? rc : 1;
	*ret = source;
	wfs_learn_note(k,
		       "'%s' is a constant, or a tensor of the checkpoint: the "
		       "tensor whose name is most alike is taken",
		       m->name);
	return 1;
}

/* In which order: 1, 0 or an error. */
static int derive(struct wfs_learn *k, const struct wfs_group *g,
		  const struct wfs_member *m, struct wfs_learnt_rule *ret,
		  const char **why)
{
	propose_fn *const first[] = {
		wfs_learn_propose_named,
		g->elements <= SMALL ? wfs_learn_propose_sibling : NULL,
		constant_or_source,
	};
	propose_fn *const last[] = {
		wfs_learn_propose_sibling,
		wfs_learn_propose_small,
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(first) / sizeof(*first) && !rc; i++)
		if (first[i])
			rc = first[i](k, g, m, ret);
	if (!rc) {
		*ret = (struct wfs_learnt_rule){ 0 };
		rc = wfs_learn_fit(k, g, m, ret, why);
	}
	for (size_t i = 0; i < sizeof(last) / sizeof(*last) && !rc; i++)
		rc = last[i](k, g, m, ret);
	return rc;
}

static bool is_listed(const struct wfs_learnt_rule *rule, int64_t layer)
{
	for (uint32_t i = 0; i < rule->layer_count; i++)
		if (rule->layers[i] == layer)
			return true;
	return false;
}

static int64_t find(struct wfs_learn *k, const char *pattern, int64_t layer,
		    int64_t stack)
{
	struct wfs_pool pool = { 0 };
	int64_t at = wfs_source_find(k->base, wfs_pattern_fill(&pool, pattern,
							       layer, stack));

	wfs_pool_clear(&pool);
	return at;
}

/* Is one of its sources where the rule does not hold? */
static bool sources_tell(struct wfs_learn *k,
			 const struct wfs_learnt_rule *rule, uint64_t count)
{
	for (uint64_t l = 0; l < count; l++)
		for (uint32_t i = 0; i < rule->count; i++)
			if (!is_listed(rule, (int64_t)l) &&
			    find(k, rule->pieces[i].source, (int64_t)l, 0) >= 0)
				return false;
	return rule->count > 0;
}

/* A tensor that the checkpoint has in the rule's layers alone. */
static const char *telling(struct wfs_learn *k,
			   const struct wfs_learnt_rule *rule, uint64_t count)
{
	const struct wfs_rank *base = &k->base->ranks[0];

	for (uint32_t i = 0; i < base->count; i++) {
		const char *name = base->tensors[i].name, *end;
		char *pattern wfs_autofree = NULL;
		int64_t value = -1;
		const char *at = wfs_learn_digits(name, &value, &end);
		uint64_t l = 0;

		if (!at || value != rule->layers[0])
			continue;
		pattern = wfs_asprintf("%.*s%c%s", (int)(at - name), name,
				       WFS_AT_LAYER, end);
		while (l < count &&
		       is_listed(rule, (int64_t)l) ==
			       (find(k, pattern, (int64_t)l, 0) >= 0))
			l++;
		if (l == count)
			return wfs_pool_text(&k->pool, pattern,
					     strlen(pattern));
	}
	return NULL;
}

static void set_condition(struct wfs_learn *k, struct wfs_learnt_rule *rule)
{
	uint64_t count;

	if (rule->domain < 0)
		return;
	count = k->domains[rule->domain].count;
	if (rule->layer_count == count)
		return;
	if (sources_tell(k, rule, count)) {
		rule->when = WFS_WHEN_SOURCES;
		return;
	}
	rule->exists = telling(k, rule, count);
	rule->when = rule->exists ? WFS_WHEN_EXISTS : WFS_WHEN_LISTED;
}

static void mark_used(struct wfs_learn *k, const struct wfs_learnt_rule *rule)
{
	for (uint32_t l = 0; l < rule->layer_count; l++)
		for (uint32_t i = 0; i < rule->count; i++)
			for (uint64_t e = 0; !e || e < rule->stack; e++) {
				int64_t at = find(k, rule->pieces[i].source,
						  rule->layers[l], (int64_t)e);

				if (at >= 0)
					k->used[at] = true;
			}
}

static void add_rule(struct wfs_learn *k, const struct wfs_learnt_rule *rule)
{
	struct wfs_learnt_rule *to;

	k->rules =
		wfs_realloc(k->rules, (k->rule_count + 1) * sizeof(*k->rules));
	to = &k->rules[k->rule_count++];
	*to = *rule;
	set_condition(k, to);
	mark_used(k, to);
}

/* Tries the rule of one member on all that are left: 1, or an error. */
static int spread(struct wfs_learn *k, const struct wfs_group *g, uint32_t from,
		  bool *done, struct wfs_learnt_rule *rule)
{
	rule->target = g->pattern;
	rule->domain = g->domain;
	rule->group = g;
	rule->layers =
		wfs_pool_alloc(&k->pool, g->count * sizeof(*rule->layers), 1);
	for (uint32_t i = 0; i < g->count; i++) {
		int rc;

		if (done[i])
			continue;
		rc = i == from ? 1 : wfs_rule_matches(k, rule, &g->members[i]);
		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		done[i] = true;
		rule->where |= g->members[i].where;
		rule->layers[rule->layer_count++] = g->members[i].layer;
	}
	add_rule(k, rule);
	return 0;
}

int wfs_learn_group(struct wfs_learn *k, struct wfs_group *g, bool last)
{
	int rc = 0;

	if (!g->done) {
		g->done = wfs_pool_alloc(&k->pool, g->count, 0);
		memset(g->done, 0, g->count);
	}

	for (uint32_t i = g->count; i-- && rc >= 0;) {
		struct wfs_learnt_rule rule = { 0 };
		const char *why = "";

		if (g->done[i])
			continue;
		rc = derive(k, g, &g->members[i], &rule, &why);
		if (rc > 0)
			rc = spread(k, g, i, g->done, &rule);
		else if (!rc && last)
			wfs_learn_unexplained(k, g->members[i].name, "%s", why);
	}
	return rc < 0 ? rc : 0;
}
