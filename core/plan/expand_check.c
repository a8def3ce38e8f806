/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold for a plan to be used on a model.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/expand.h"
#include "core/plan/inverse_inner.h"
#include "core/plan/operate.h"

int wfs_expand_expect(struct wfs_expand *x, const void *item)
{
	const struct wfs_expect *expect = item;
	const struct wfs_tensor *t;
	struct wfs_text has = { 0 }, wants = { 0 };
	uint64_t shape[WFS_VIEW_DIMS];
	unsigned ndim = 0;
	const char *name = NULL;
	int64_t at;
	int rc = wfs_evaluate_condition(&x->e, expect->when);

	if (rc <= 0)
		return rc;
	rc = wfs_evaluate_text(&x->e, expect->target, &name);
	if (rc)
		return rc;
	at = wfs_source_find(x->layout->base, name);
	/* Whether it has to be there is the rules' business. */
	if (at < 0)
		return 0;
	t = &x->layout->base->ranks[0].tensors[at];
	rc = wfs_op_take_shape(&x->e, expect->shape, shape, &ndim);
	if (rc)
		return rc;
	if (wfs_shape_equals(shape, ndim, t->shape, t->ndim))
		return 0;
	wfs_shape_add(&has, t->shape, t->ndim);
	wfs_shape_add(&wants, shape, ndim);
	rc = wfs_err_set(x->e.err, -EINVAL,
			 "model '%s': tensor '%s' is %s, config.json says %s "
			 "(%s:%u): one of them is of another model, put the "
			 "right config.json there",
			 x->layout->base->name, name, has.data, wants.data,
			 expect->target->file, expect->target->line);
	free(has.data);
	free(wants.data);
	return rc;
}

int wfs_expand_requires(struct wfs_expand *x)
{
	const struct wfs_plan *plan = x->layout->plan;
	int rc;

	for (uint32_t i = 0; i < plan->require_count; i++) {
		const struct wfs_require *r = &plan->requires[i];
		const char *sentence = NULL;

		rc = wfs_evaluate_condition(&x->e, r->when);
		if (!rc)
			continue;
		if (rc > 0)
			rc = wfs_evaluate_condition(&x->e, r->condition);
		if (rc > 0)
			continue;
		if (!rc)
			rc = wfs_evaluate_text(&x->e, r->sentence, &sentence);
		if (rc)
			return rc;
		return wfs_err_set(x->e.err, -EINVAL,
				   "model \'%s\': %s (%s:%u)",
				   x->layout->base->name, sentence,
				   r->condition->file, r->condition->line);
	}
	return 0;
}

void wfs_expand_show(const char *pattern, struct wfs_text *text)
{
	wfs_text_add(text, "%s", "");
	for (; *pattern; pattern++)
		wfs_text_add(text, "%.*s", *pattern == WFS_GLOB_DIGITS ? 3 : 1,
			     *pattern == WFS_GLOB_DIGITS ? "{n}" : pattern);
}

int wfs_expand_pattern(struct wfs_expand *x, const struct wfs_drop *drop,
		       const char **ret_pattern)
{
	static const char digits[] = { WFS_GLOB_DIGITS, 0 };
	const char *pattern = NULL;
	int rc;

	for (uint32_t i = 0; i < x->layout->plan->index_count; i++) {
		x->e.index[i] = (struct wfs_value){ .kind = WFS_VALUE_TEXT,
						    .text = digits };
		x->e.bound[i] = true;
	}
	rc = wfs_evaluate_condition(&x->e, drop->when);
	if (rc > 0)
		rc = wfs_evaluate_text(&x->e, drop->pattern, &pattern);
	memset(x->e.bound, 0, sizeof(x->e.bound));
	if (rc >= 0)
		*ret_pattern = pattern;
	return rc < 0 ? rc : 0;
}

/* The tensors that a drop rule covers; indices stand for any number. */
static int apply_drop(struct wfs_expand *x, const struct wfs_drop *drop)
{
	const struct wfs_rank *base = &x->layout->base->ranks[0];
	struct wfs_text text = { 0 };
	const char *pattern = NULL;
	bool any = false;
	int rc = wfs_expand_pattern(x, drop, &pattern);

	if (rc || !pattern)
		return rc;
	for (uint32_t i = 0; i < base->count; i++) {
		if (!wfs_glob(base->tensors[i].name, pattern))
			continue;
		x->e.used[i] = true;
		any = true;
	}
	/* What a dump was made without cannot be asked of it. */
	if (any || drop->optional || wfs_inverse_of(x->layout->base))
		return 0;
	wfs_expand_show(pattern, &text);
	rc = wfs_err_set(x->e.err, -EINVAL,
			 "model '%s': there is no tensor '%s', which %s:%u is "
			 "to leave out: mark the rule optional, if that is "
			 "right",
			 x->layout->base->name, text.data, drop->pattern->file,
			 drop->pattern->line);
	free(text.data);
	return rc;
}

/* `hf`: what no rule cuts is whole on every rank. */
static int add_whole(struct wfs_expand *x)
{
	const struct wfs_model *base = x->layout->base;
	int rc = 0;

	x->now = (struct wfs_target){
		.rule = WFS_RULE_NONE,
		.only = -1,
		.rank = -1,
		.to = (uint16_t)(x->layout->spec.pp - 1),
	};
	for (uint32_t i = 0; i < base->ranks[0].count && !rc; i++) {
		struct wfs_value v;

		if (x->e.used[i])
			continue;
		x->now.source = (int32_t)i;
		rc = wfs_eval_source(&x->e, i, &v);
		if (!rc)
			rc = wfs_expand_add(x, base->ranks[0].tensors[i].name,
					    v.view);
	}
	return rc;
}

int wfs_expand_covered(struct wfs_expand *x)
{
	const struct wfs_layout *layout = x->layout;
	const struct wfs_rank *base = &layout->base->ranks[0];
	uint32_t first = 0, left = 0;
	int rc = 0;

	if (x->e.hf)
		return add_whole(x);
	for (uint32_t i = 0; i < layout->plan->drop_count && !rc; i++)
		rc = apply_drop(x, &layout->plan->drops[i]);
	for (uint32_t i = 0; i < base->count && !rc; i++)
		if (!x->e.used[i])
			first = left++ ? first : i;
	if (rc || !left)
		return rc;
	return wfs_err_set(x->e.err, -EINVAL,
			   "model '%s': no rule of plan '%s' covers tensor "
			   "'%s'%s: config.json may be another model's; "
			   "'weightfs plan learn' makes a plan of a dump",
			   layout->base->name, layout->plan->name,
			   base->tensors[first].name,
			   left > 1 ? " and others" : "");
}

int wfs_expand_layers(struct wfs_expand *x)
{
	const struct wfs_layout *layout = x->layout;
	int rc;

	if (layout->plan->pipeline < 0) {
		if (layout->spec.pp == 1)
			return 0;
		return wfs_err_set(x->e.err, -EINVAL,
				   "plan '%s' knows no pipeline: pp%u is not "
				   "possible",
				   layout->plan->name, layout->spec.pp);
	}
	rc = wfs_eval_index_count(&x->e, (uint32_t)layout->plan->pipeline,
				  &x->layers);
	if (!rc && x->layers < layout->spec.pp)
		rc = wfs_err_set(x->e.err, -EINVAL,
				 "model '%s' has %llu layers, too few for %u "
				 "stages: take a smaller pp",
				 layout->base->name,
				 (unsigned long long)x->layers,
				 layout->spec.pp);
	return rc;
}
