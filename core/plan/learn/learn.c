/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From examples to a plan, step by step.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

static int by_elements(const void *a, const void *b)
{
	const struct wfs_group *x = a, *y = b;

	if (x->elements != y->elements)
		return x->elements > y->elements ? -1 : 1;
	return strcmp(x->pattern, y->pattern);
}

static int learn(struct wfs_learn *k, struct wfs_model *const *dumps,
		 size_t count)
{
	int rc = wfs_plan_config_read(k->base, &k->config, k->err);

	if (!rc)
		rc = wfs_learn_examples(k, dumps, count);
	if (rc)
		return rc;
	k->used = wfs_calloc((size_t)k->base->ranks[0].count + 1, 1);
	/* Large ones say what small ones beside them are. */
	qsort(k->groups, k->group_count, sizeof(*k->groups), by_elements);
	/* Twice: small ones also say what large ones are. */
	for (unsigned last = 0; last < 2; last++)
		for (uint32_t i = 0; i < k->group_count && !rc; i++)
			rc = wfs_learn_group(k, &k->groups[i], last);
	if (rc)
		return rc;
	wfs_learn_trust_heads(k);
	wfs_learn_merge(k);
	for (uint32_t i = 0; i < k->rule_count; i++)
		wfs_learn_note_rule(k, &k->rules[i]);
	rc = wfs_learn_stages(k);
	return rc ? rc : wfs_learn_write(k);
}

static void clear(struct wfs_learn *k)
{
	for (unsigned d = 0; d < WFS_DTYPE_COUNT; d++)
		for (unsigned c = 0; c < 2; c++)
			wfs_index_free(k->indices[d][c]);
	free(k->examples);
	free(k->members);
	free(k->groups);
	free(k->domains);
	free(k->rules);
	free(k->used);
	wfs_config_clear(&k->config);
	wfs_pool_clear(&k->pool);
}

int wfs_plan_learn(struct wfs_model *base, struct wfs_model *const *dumps,
		   size_t count, const struct wfs_learn_options *options,
		   struct wfs_learnt *ret, struct wfs_err *err)
{
	struct wfs_learnt out = { 0 };
	struct wfs_learn k = {
		.base = base, .options = *options, .out = &out, .err = err
	};
	int rc;

	if (base->format != WFS_FORMAT_HF || base->virtual)
		return wfs_err_set(err, -EINVAL,
				   "model '%s' is %s, no plain safetensors "
				   "checkpoint to learn from",
				   base->name,
				   wfs_model_format_name(base->format));
	rc = learn(&k, dumps, count);
	clear(&k);
	if (rc)
		wfs_learnt_clear(&out);
	else
		*ret = out;
	return rc;
}

void wfs_learnt_clear(struct wfs_learnt *learnt)
{
	for (size_t i = 0; i < learnt->note_count; i++)
		free(learnt->notes[i]);
	for (size_t i = 0; i < learnt->unexplained_count; i++) {
		free(learnt->unexplained[i]);
		free(learnt->reasons[i]);
	}
	free(learnt->notes);
	free(learnt->unexplained);
	free(learnt->reasons);
	free(learnt->plan.data);
	*learnt = (struct wfs_learnt){ 0 };
}
