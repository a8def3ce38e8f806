/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules over a model: the tensors of a layout.
 *
 * Every rule is evaluated for every value of the indices in its name.  What
 * comes out is a name, a dtype and a shape; that the sources are there, that
 * config.json and the shapes agree and that every dim divides shows on the
 * way.  In the end no tensor of the checkpoint may be left.
 */
#include <errno.h>
#include <string.h>

#include "core/base/keys.h"
#include "core/base/text.h"
#include "core/model/names.h"
#include "core/plan/expand.h"

#define CLEAR_EVERY 32u /* evaluations: views are thrown away */

void wfs_layout_eval(const struct wfs_layout *layout, struct wfs_pool *pool,
		     struct wfs_err *err, struct wfs_eval *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->plan = layout->plan;
	ret->base = layout->base;
	ret->config = yyjson_doc_get_root(layout->config.doc);
	ret->tp = layout->spec.tp;
	ret->pp = layout->spec.pp;
	ret->hf = layout->spec.hf;
	ret->architecture = layout->architecture;
	ret->quantised = layout->quantised;
	ret->lets = layout->lets;
	ret->let_done = layout->let_done;
	ret->pool = pool;
	ret->kept = NULL; /* the caller says where lets lie */
	ret->err = err;
	for (uint32_t i = 0; i < WFS_PLAN_INDICES; i++)
		ret->only[i] = -1;
}

unsigned wfs_plan_stage(enum wfs_leftover leftover, uint64_t layers,
			unsigned pp, uint64_t at)
{
	uint64_t each = layers / pp, rest = layers % pp, end = 0;

	for (unsigned s = 0; s < pp; s++) {
		bool more = false;

		switch (leftover) {
		case WFS_LEFT_BEFORE_LAST:
			more = s + 1 < pp && pp - 1 - s <= rest;
			break;
		case WFS_LEFT_FIRST:
			more = s < rest;
			break;
		case WFS_LEFT_LAST:
			more = pp - s <= rest;
			break;
		}
		end += each + more;
		if (at < end)
			return s;
	}
	return pp - 1;
}

int wfs_expand_bindings(struct wfs_expand *x, const uint8_t *indices,
			uint8_t count, wfs_binding_fn fn, const void *item)
{
	uint64_t most[WFS_PLAN_BINDINGS] = { 1, 1, 1 };
	uint32_t *at = x->now.index;
	int rc = 0;

	for (uint8_t i = 0; i < count && !rc; i++)
		rc = wfs_eval_index_count(&x->e, indices[i], &most[i]);
	if (rc)
		return rc;
	for (at[0] = 0; at[0] < most[0] && !rc; at[0]++)
		for (at[1] = 0; at[1] < most[1] && !rc; at[1]++)
			for (at[2] = 0; at[2] < most[2] && !rc; at[2]++) {
				for (uint8_t i = 0; i < count && !rc; i++)
					rc = wfs_eval_bind(&x->e, indices[i],
							   at[i]);
				if (!rc)
					rc = fn(x, item);
				if (++x->since_clear < CLEAR_EVERY)
					continue;
				wfs_pool_clear(&x->scratch);
				x->since_clear = 0;
			}
	for (uint8_t i = 0; i < count; i++)
		x->e.bound[indices[i]] = false;
	return rc;
}

void wfs_expand_stages(struct wfs_expand *x, const struct wfs_rule *rule)
{
	const struct wfs_layout *layout = x->layout;
	uint16_t last = (uint16_t)(layout->spec.pp - 1);
	struct wfs_target *t = &x->now;

	t->from = rule->stage == WFS_STAGE_LAST ? last : 0;
	t->to = rule->stage == WFS_STAGE_FIRST ? 0 : last;
	for (uint8_t i = 0; i < rule->index_count && !rule->stage; i++)
		if (rule->indices[i] == layout->plan->pipeline)
			t->from = t->to = (uint16_t)wfs_plan_stage(
				layout->plan->leftover, x->layers,
				layout->spec.pp, t->index[i]);
}

int wfs_expand_add(struct wfs_expand *x, const char *name,
		   const struct wfs_view *view)
{
	struct wfs_layout *layout = x->layout;
	char escaped[WFS_FILE_NAME_MAX + 1];
	struct wfs_target t = x->now;
	size_t len = strlen(name);
	const char *file = wfs_name_file(name, len, escaped);
	uint64_t *shape;

	/* An engine leaves tensors without elements out. */
	t.size = wfs_view_bytes(view);
	if (!t.size)
		return 0;
	if (layout->count >= WFS_MODEL_MAX_TENSORS)
		return wfs_err_set(x->e.err, -E2BIG,
				   "plan '%s' makes more than %u tensors",
				   layout->plan->name, WFS_MODEL_MAX_TENSORS);
	t.name = t.file_name = wfs_pool_text(&layout->pool, name, len);
	if (file != name)
		t.file_name = wfs_pool_text(&layout->pool, file, strlen(file));
	t.dtype = (uint8_t)view->dtype;
	t.ndim = (uint8_t)view->ndim;
	if (view->ndim) {
		shape = wfs_pool_alloc(&layout->pool,
				       view->ndim * sizeof(*shape), 1);
		memcpy(shape, view->shape, view->ndim * sizeof(*shape));
		t.shape = shape;
	}
	if (layout->count == x->cap) {
		x->cap = x->cap ? x->cap * 2 : 256;
		layout->targets =
			wfs_realloc(layout->targets, x->cap * sizeof(t));
	}
	layout->targets[layout->count++] = t;
	return 0;
}

/* For `hf`: a part of the rule's tensor comes from one source alone. */
static void part_found(struct wfs_eval *e, const struct wfs_view *view,
		       uint32_t source)
{
	struct wfs_expand *x = e->part_ctx;

	x->now.source = (int32_t)source;
	x->now.only = -1;
	for (uint32_t i = 0; i < e->plan->index_count; i++)
		if (!e->plan->indices[i].count && e->bound[i]) {
			x->now.only_index = (uint8_t)i;
			x->now.only = (int32_t)e->index[i].number;
		}
	if (!x->rc)
		x->rc = wfs_expand_add(x,
				       e->base->ranks[0].tensors[source].name,
				       wfs_hf_part(e->pool, view, &x->padded));
}

static int apply_as(struct wfs_eval *e, const struct wfs_rule *rule,
		    const struct wfs_view **view)
{
	enum wfs_dtype dtype = WFS_U8;
	int rc;

	if (!rule->as)
		return 0;
	rc = wfs_evaluate_dtype(e, rule->as, &dtype);
	if (rc)
		return rc;
	*view = wfs_view_cast(e->pool, *view, dtype, e->err);
	return *view ? 0 : -EINVAL;
}

static int evaluate_rule(struct wfs_expand *x, const struct wfs_rule *rule,
			 const char *name)
{
	struct wfs_eval *e = &x->e;
	struct wfs_value v;
	int rc;

	x->rule = rule;
	x->rc = 0;
	e->found = 0;
	e->missing = false;
	e->part = x->layout->spec.hf ? part_found : NULL;
	e->part_ctx = x;
	rc = wfs_evaluate_tensor(e, rule->value, &v);
	if (rc && e->missing && rule->optional && !e->found) {
		if (e->err)
			e->err->code = 0;
		return 0;
	}
	if (!rc && e->hf && v.source >= 0)
		part_found(e, v.view, (uint32_t)v.source);
	if (rc == WFS_EVAL_ABSENT || (!rc && e->hf)) {
		if (e->err && !x->rc)
			e->err->code = 0;
		return x->rc;
	}
	if (!rc)
		rc = apply_as(e, rule, &v.view);
	if (rc) {
		wfs_err_prefix(e->err, "'%s@tp%u': making '%s'",
			       x->layout->base->name, e->tp, name);
		return rc;
	}
	return wfs_expand_add(x, name, v.view);
}

static bool same_shape(const struct wfs_target *a, const struct wfs_target *b)
{
	return a->dtype == b->dtype &&
	       wfs_shape_equals(a->shape, a->ndim, b->shape, b->ndim);
}

static bool has_all(const struct wfs_expand *x, const struct wfs_target *t)
{
	const struct wfs_model *base = x->layout->base;

	return t->source >= 0 &&
	       t->size == base->ranks[0].tensors[t->source].size;
}

/*
 * This rank's targets, from `count` on, must be like those of the first rank,
 * from `first` on.  In `hf` it has all of what the rule gives it nothing of,
 * and then so must the first.
 */
static int check_rank(const struct wfs_expand *x, uint32_t first,
		      uint32_t count)
{
	const struct wfs_target *t = x->layout->targets;
	uint32_t found = 0;

	for (uint32_t i = first; i < count; i++) {
		const struct wfs_target *other = NULL;

		for (uint32_t k = count; k < x->layout->count; k++)
			if (t[k].source == t[i].source)
				other = &t[k];
		found += other != NULL;
		if (other ? !same_shape(&t[i], other) : !has_all(x, &t[i]))
			return wfs_err_set(x->e.err, -EINVAL,
					   "'%s@tp%u': tensor '%s' is of "
					   "another shape or dtype on rank %u "
					   "than on rank 0: correct the plan",
					   x->layout->base->name, x->e.tp,
					   t[i].name, x->e.rank);
	}
	if (found < x->layout->count - count)
		return wfs_err_set(x->e.err, -EINVAL,
				   "'%s@tp%u': tensor '%s' is on rank %u and "
				   "not on rank 0: correct the plan",
				   x->layout->base->name, x->e.tp,
				   t[count].name, x->e.rank);
	return 0;
}

static int expand_binding(struct wfs_expand *x, const void *item)
{
	const struct wfs_rule *rule = item;
	struct wfs_eval *e = &x->e;
	uint32_t first = x->layout->count;
	const char *name = NULL;
	int rc = wfs_evaluate_condition(e, rule->when);

	if (rc <= 0)
		return rc;
	rc = wfs_evaluate_text(e, rule->target, &name);
	if (rc)
		return rc;
	x->padded = false;
	x->now.source = -1;
	x->now.only = -1;
	x->now.rank = -1;
	wfs_expand_stages(x, rule);
	e->stage = x->now.from;
	rc = evaluate_rule(x, rule, name);
	/* Ranks have less of what was padded, the last ones. */
	if (x->padded && e->tp > 1) {
		x->layout->uneven = true;
		for (uint32_t i = first; i < x->layout->count; i++)
			x->layout->targets[i].rank = 0;
	}
	for (e->rank = 1; e->rank < e->tp && !rc; e->rank++) {
		uint32_t count = x->layout->count;

		if (!x->padded && !rule->uses_rank)
			break;
		x->now.rank = x->padded ? (int32_t)e->rank : -1;
		rc = evaluate_rule(x, rule, name);
		if (x->padded || rc)
			continue;
		/* Otherwise they only show whether they work. */
		rc = check_rank(x, first, count);
		x->layout->count = count;
	}
	e->rank = 0;
	return rc;
}

/* Byte order of the file names; equal names in the order of the rules. */
static void sort_targets(struct wfs_layout *layout)
{
	struct wfs_key *keys wfs_autofree =
		wfs_calloc((size_t)layout->count + 1, sizeof(*keys));
	struct wfs_target *sorted =
		wfs_calloc((size_t)layout->count + 1, sizeof(*sorted));

	for (uint32_t i = 0; i < layout->count; i++) {
		keys[i].s = layout->targets[i].file_name;
		keys[i].len = (uint32_t)strlen(keys[i].s);
		keys[i].tag = i;
	}
	wfs_keys_sort(keys, layout->count);
	for (uint32_t i = 0; i < layout->count; i++)
		sorted[i] = layout->targets[keys[i].tag];
	free(layout->targets);
	layout->targets = sorted;
}

int wfs_layout_expand(struct wfs_layout *layout, struct wfs_err *err)
{
	const struct wfs_plan *plan = layout->plan;
	struct wfs_expand x = { .layout = layout };
	bool *used wfs_autofree =
		wfs_calloc((size_t)layout->base->ranks[0].count + 1, 1);
	int rc;

	wfs_layout_eval(layout, &x.scratch, err, &x.e);
	x.e.kept = &layout->pool;
	x.e.used = used;
	rc = wfs_expand_requires(&x);
	if (!rc)
		rc = wfs_expand_layers(&x);
	for (uint32_t i = 0; i < plan->expect_count && !rc; i++)
		rc = wfs_expand_bindings(&x, plan->expects[i].indices,
					 plan->expects[i].index_count,
					 wfs_expand_expect, &plan->expects[i]);
	for (uint32_t i = 0; i < plan->rule_count && !rc; i++) {
		x.now.rule = i;
		rc = wfs_expand_bindings(&x, plan->rules[i].indices,
					 plan->rules[i].index_count,
					 expand_binding, &plan->rules[i]);
	}
	if (!rc)
		rc = wfs_expand_covered(&x);
	wfs_pool_clear(&x.scratch);
	if (!rc)
		sort_targets(layout);
	return rc;
}
