/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of the checkpoint, found out: every rule that made a tensor of
 * the dump is evaluated, and what it asks for must have been there.  The shape
 * is what "expect" says.  Where it says nothing, the few that there can be are
 * tried: as the dump has it, with one dim longer by as much as ranks share it,
 * without the first dim, which stacks added, or one number.  The one that
 * makes the dump's shape is right.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/expand.h"
#include "core/plan/inverse_inner.h"
#include "core/plan/operate.h"

struct find {
	struct wfs_expand x; /* first: what the bindings are for gets it */
	struct wfs_ghosts *ghosts;
};

/* A tensor of the dump, and the rule that makes it. */
struct made {
	const struct wfs_rule *rule;
	const struct wfs_tensor *tensor;
};

static const struct wfs_tensor *tensor_of(const struct wfs_rank *rank,
					  const char *name)
{
	int64_t at = wfs_rank_find_tensor(rank, name);

	return at < 0 ? NULL : &rank->tensors[at];
}

/* 1: it fits, and what it asked for is kept; 0; or a negative errno. */
static int try_shape(struct find *f, const struct made *made, unsigned ndim,
		     const uint64_t *shape)
{
	struct wfs_eval *e = &f->x.e;
	struct wfs_value v;
	int rc;

	wfs_ghosts_begin(f->ghosts, (enum wfs_dtype)made->tensor->dtype, ndim,
			 shape);
	f->ghosts->cast = made->rule->as != NULL;
	rc = wfs_evaluate_tensor(e, made->rule->value, &v);
	if (rc)
		return rc;
	if (!wfs_shape_equals(v.view->shape, v.view->ndim, made->tensor->shape,
			      made->tensor->ndim))
		return 0;
	wfs_ghosts_keep(f->ghosts, made->rule->value);
	return 1;
}

/* `shape`, with one dim longer for each number of ranks that may share it. */
static int try_like(struct find *f, const struct made *made, unsigned ndim,
		    const uint64_t *shape)
{
	uint64_t longer[WFS_VIEW_DIMS];
	int rc = try_shape(f, made, ndim, shape);

	for (unsigned dim = 0; dim < ndim && rc <= 0; dim++)
		for (unsigned by = 2; by <= f->x.e.tp && rc <= 0; by++) {
			if (f->x.e.tp % by || shape[dim] > UINT64_MAX / by)
				continue;
			memcpy(longer, shape, ndim * sizeof(*shape));
			longer[dim] *= by;
			rc = try_shape(f, made, ndim, longer);
		}
	return rc;
}

static int try_all(struct find *f, const struct made *made)
{
	static const uint64_t one[] = { 1 };
	const struct wfs_tensor *t = made->tensor;
	int rc = try_like(f, made, t->ndim, t->shape);

	if (rc <= 0 && t->ndim)
		rc = try_like(f, made, t->ndim - 1u, t->shape + 1);
	if (rc <= 0)
		rc = try_shape(f, made, 1, one);
	if (rc <= 0)
		rc = try_shape(f, made, 0, NULL);
	return rc;
}

/* No shape of `hole` is right, or without one what the rule makes is not. */
static int no_shape(struct find *f, const struct made *made, const char *hole,
		    const struct wfs_view *view)
{
	const struct wfs_node *n = made->rule->target;
	const struct wfs_tensor *t = made->tensor;
	struct wfs_text has = { 0 }, made_of = { 0 };
	int rc;

	wfs_shape_add(&has, t->shape, t->ndim);
	if (view)
		wfs_shape_add(&made_of, view->shape, view->ndim);
	if (hole)
		rc = wfs_err_set(
			f->x.e.err, -EINVAL,
			"model '%s': tensor '%s' is %s: what shape '%s' had in "
			"the checkpoint cannot be told from that by %s:%u: "
			"add an 'expect' for it to the plan",
			f->x.layout->base->name, t->name, has.data, hole,
			n->file, n->line);
	else
		rc = wfs_err_set(
			f->x.e.err, -EINVAL,
			"model '%s': tensor '%s' is %s, and by %s:%u it would "
			"be %s: " WFS_INVERSE_WHY,
			f->x.layout->base->name, t->name, has.data, n->file,
			n->line, made_of.data);
	free(has.data);
	free(made_of.data);
	return rc;
}

/* The tensors that the rule makes `tensor` of. */
static int find_sources(struct find *f, const struct made *made)
{
	const struct wfs_tensor *t = made->tensor;
	struct wfs_eval *e = &f->x.e;
	struct wfs_err *err = e->err;
	const struct wfs_ghost *hole;
	char *name wfs_autofree = NULL;
	struct wfs_value v;
	int rc;

	/* Errors of a trial mean nothing. */
	e->err = NULL;
	rc = t->ndim > WFS_VIEW_DIMS ? 0 :
				       try_shape(f, made, t->ndim, t->shape);
	hole = wfs_ghosts_hole(f->ghosts);
	if (rc <= 0 && hole) {
		name = wfs_strdup(hole->name);
		rc = try_all(f, made);
		e->err = err;
		return rc > 0 ? 0 : no_shape(f, made, name, NULL);
	}
	e->err = err;
	if (rc > 0)
		return 0;
	rc = wfs_evaluate_tensor(e, made->rule->value, &v);
	if (!rc)
		return no_shape(f, made, NULL, v.view);
	wfs_err_prefix(err, "model '%s': taking '%s' apart",
		       f->x.layout->base->name, t->name);
	return rc;
}

static int not_there(struct find *f, const struct wfs_rule *rule,
		     const char *name)
{
	const struct wfs_model *dump = f->x.layout->base;
	uint32_t rank = f->x.e.stage * f->x.e.tp + f->x.e.rank;

	return wfs_err_set(f->x.e.err, -EINVAL,
			   "model '%s': rank '%s' has no tensor '%s', which "
			   "%s:%u makes: " WFS_INVERSE_WHY,
			   dump->name, dump->ranks[rank].name, name,
			   rule->target->file, rule->target->line);
}

static int find_binding(struct wfs_expand *x, const void *item)
{
	struct find *f = (struct find *)x;
	struct made made = { .rule = item };
	struct wfs_eval *e = &x->e;
	unsigned ranks = made.rule->uses_rank ? e->tp : 1;
	const char *name = NULL;
	int rc = wfs_evaluate_condition(e, made.rule->when);

	if (rc <= 0)
		return rc;
	rc = wfs_evaluate_text(e, made.rule->target, &name);
	wfs_expand_stages(x, made.rule);
	e->stage = x->now.from;
	for (e->rank = 0; e->rank < ranks && !rc; e->rank++) {
		made.tensor = tensor_of(
			&x->layout->base->ranks[e->stage * e->tp + e->rank],
			name);
		if (made.tensor)
			rc = find_sources(f, &made);
		else if (!made.rule->optional && !made.rule->storage)
			rc = not_there(f, made.rule, name);
	}
	e->rank = 0;
	return rc;
}

static int expect_binding(struct wfs_expand *x, const void *item)
{
	struct find *f = (struct find *)x;
	const struct wfs_expect *expect = item;
	uint64_t shape[WFS_VIEW_DIMS];
	unsigned ndim = 0;
	const char *name = NULL;
	int rc = wfs_evaluate_condition(&x->e, expect->when);

	if (rc <= 0)
		return rc;
	rc = wfs_evaluate_text(&x->e, expect->target, &name);
	if (!rc)
		rc = wfs_op_take_shape(&x->e, expect->shape, shape, &ndim);
	if (!rc)
		wfs_ghosts_expect(f->ghosts, name, ndim, shape);
	return rc;
}

static uint32_t count_kept(const struct wfs_ghosts *ghosts)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ghosts->count; i++)
		n += ghosts->rows[i].kept;
	return n;
}

/* All rules; more may hold the next time, by what "exists" then says. */
static int find_all(struct find *f)
{
	const struct wfs_plan *plan = f->x.layout->plan;
	uint32_t before;
	int rc = 0;

	do {
		before = count_kept(f->ghosts);
		f->ghosts->missed = false;
		for (uint32_t i = 0; i < plan->rule_count && !rc; i++) {
			const struct wfs_rule *r = &plan->rules[i];

			rc = wfs_expand_bindings(&f->x, r->indices,
						 r->index_count, find_binding,
						 r);
		}
	} while (!rc && f->ghosts->missed && count_kept(f->ghosts) > before);
	return rc;
}

int wfs_inverse_find(struct wfs_layout *layout, struct wfs_ghosts *ghosts,
		     struct wfs_err *err)
{
	const struct wfs_plan *plan = layout->plan;
	struct find f = { .x = { .layout = layout }, .ghosts = ghosts };
	int rc;

	wfs_layout_eval(layout, &f.x.scratch, err, &f.x.e);
	f.x.e.kept = &layout->pool;
	f.x.e.ghosts = ghosts;
	rc = wfs_expand_requires(&f.x);
	if (!rc)
		rc = wfs_expand_layers(&f.x);
	for (uint32_t i = 0; i < plan->expect_count && !rc; i++)
		rc = wfs_expand_bindings(&f.x, plan->expects[i].indices,
					 plan->expects[i].index_count,
					 expect_binding, &plan->expects[i]);
	if (!rc)
		rc = find_all(&f);
	wfs_pool_clear(&f.x.scratch);
	return rc;
}
