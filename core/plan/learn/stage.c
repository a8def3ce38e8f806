/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pipeline stages have what, from the examples that have stages.
 *
 * Layers are shared out in one of the ways that plans know.  What has no
 * layer is on the first stage, the last, or all; if it is missing on some of
 * them, another name of the same bytes that comes before it must be there,
 * and both are one storage.
 */
#include <errno.h>

#include "core/plan/learn/inner.h"

static uint64_t places_of(const struct wfs_learn *k, enum wfs_stage stage)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < k->example_count; i++) {
		const struct wfs_example *ex = &k->examples[i];

		for (unsigned s = 0; s < ex->pp; s++)
			if ((stage != WFS_STAGE_FIRST || !s) &&
			    (stage != WFS_STAGE_LAST || s + 1 == ex->pp))
				bits |= 1ull << (ex->place + s);
	}
	return bits;
}

static uint64_t places_of_layer(const struct wfs_learn *k,
				enum wfs_leftover leftover, uint64_t layers,
				int64_t layer)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < k->example_count; i++)
		bits |= 1ull
			<< (k->examples[i].place +
			    wfs_plan_stage(leftover, layers, k->examples[i].pp,
					   (uint64_t)layer));
	return bits;
}

static bool fits(const struct wfs_learn *k, enum wfs_leftover leftover)
{
	for (uint32_t i = 0; i < k->group_count; i++) {
		const struct wfs_group *g = &k->groups[i];
		const struct wfs_domain *d =
			g->domain < 0 ? NULL : &k->domains[g->domain];

		for (uint32_t m = 0; d && d->pipeline && m < g->count; m++)
			if (places_of_layer(k, leftover, d->count,
					    g->members[m].layer) !=
			    g->members[m].where)
				return false;
	}
	return true;
}

static int find_leftover(struct wfs_learn *k)
{
	static const char *const names[] = { "before_last", "first", "last" };
	int first = -1, n = 0;

	for (int i = WFS_LEFT_BEFORE_LAST; i <= WFS_LEFT_LAST; i++)
		if (fits(k, (enum wfs_leftover)i)) {
			first = n++ ? first : i;
		}
	if (!n)
		return wfs_err_set(k->err, -EINVAL,
				   "model '%s': the stages of the examples "
				   "share out the layers in no way that plans "
				   "know (leftover before_last, first, last)",
				   k->base->name);
	k->leftover = (enum wfs_leftover)first;
	if (n > 1)
		wfs_learn_note(k,
			       "layers that are left over go to stages "
			       "'%s': the examples do not tell",
			       names[first]);
	return 0;
}

static bool same_bytes(struct wfs_learn *k, const struct wfs_learnt_rule *a,
		       const struct wfs_learnt_rule *b)
{
	return a->domain < 0 && b->domain < 0 && a->dtype == b->dtype &&
	       wfs_rule_matches(k, a, &b->group->members[0]) > 0;
}

/* Missing where a smaller name of the same bytes is. */
static bool find_storage(struct wfs_learn *k, struct wfs_learnt_rule *rule)
{
	for (uint32_t i = 0; i < k->rule_count; i++) {
		struct wfs_learnt_rule *other = &k->rules[i];

		if (strcmp(other->target, rule->target) >= 0 ||
		    !same_bytes(k, other, rule))
			continue;
		for (int s = WFS_STAGE_FIRST; s <= WFS_STAGE_ALL; s++) {
			if (rule->where !=
			    (places_of(k, (enum wfs_stage)s) & ~other->where))
				continue;
			rule->stage = (enum wfs_stage)s;
			if (!other->storage)
				other->storage = i + 1;
			rule->storage = other->storage;
			return true;
		}
	}
	return false;
}

static void find_stage(struct wfs_learn *k, struct wfs_learnt_rule *rule)
{
	static const enum wfs_stage stages[] = {
		WFS_STAGE_ALL,
		WFS_STAGE_FIRST,
		WFS_STAGE_LAST,
	};

	for (size_t i = 0; i < sizeof(stages) / sizeof(*stages); i++)
		if (rule->where == places_of(k, stages[i])) {
			rule->stage = stages[i];
			return;
		}
	if (find_storage(k, rule))
		return;
	rule->stage = WFS_STAGE_NONE;
	wfs_learn_unexplained(k, rule->group->members[0].name,
			      "the examples have it in stages that no rule "
			      "says (first, last, all)");
}

int wfs_learn_stages(struct wfs_learn *k)
{
	int rc = k->pipelined ? find_leftover(k) : 0;

	for (uint32_t i = 0; i < k->rule_count && !rc; i++)
		if (!k->pipelined || k->rules[i].domain < 0 ||
		    !k->domains[k->rules[i].domain].pipeline)
			find_stage(k, &k->rules[i]);
	return rc;
}
