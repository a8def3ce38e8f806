/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations.  Each makes views of views and knows nothing of engines;
 * what does not divide is refused with the tensor, the dim and N.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/plan/inverse.h"
#include "core/plan/operate.h"
#include "core/plan/view_inner.h"

#define MAX_STACK (1u << 16)

const char *wfs_op_source(const struct wfs_eval *e, const struct wfs_value *v)
{
	return v->source >= 0 ? e->base->ranks[0].tensors[v->source].name :
				"(several)";
}

int wfs_eval_source(struct wfs_eval *e, uint32_t at, struct wfs_value *ret)
{
	const struct wfs_tensor *t = &e->base->ranks[0].tensors[at];

	if (t->ndim > WFS_VIEW_DIMS)
		return wfs_err_set(e->err, -EINVAL,
				   "tensor '%s' has %u dimensions, at most %u "
				   "can be cut",
				   t->name, t->ndim, WFS_VIEW_DIMS);
	e->found++;
	if (e->used)
		e->used[at] = true;
	*ret = (struct wfs_value){ .kind = WFS_VALUE_TENSOR, .source = at };
	ret->view = wfs_inverse_view(e->base, at);
	if (!ret->view)
		ret->view = wfs_view_source(e->pool,
					    e->base->entries[t->shard].region,
					    t->off, (enum wfs_dtype)t->dtype,
					    t->ndim, t->shape);
	ret->view = wfs_view_named(e->pool, ret->view, t->name);
	return ret->view ? 0 : -EINVAL;
}

/* A config.json that asks for so many more is another model's. */
static uint32_t max_absent(const struct wfs_model *base)
{
	return 4 * base->ranks[0].count + 1024;
}

static int ghost_source(struct wfs_eval *e, const char *name,
			struct wfs_value *ret)
{
	struct wfs_ghost ghost = wfs_ghosts_ask(e->ghosts, name);

	e->found++;
	*ret = (struct wfs_value){ .kind = WFS_VALUE_TENSOR,
				   .source = WFS_SOURCE_MANY };
	ret->view = wfs_view_source(e->pool, NULL, 0,
				    (enum wfs_dtype)ghost.dtype, ghost.ndim,
				    ghost.shape);
	ret->view = wfs_view_named(e->pool, ret->view, ghost.name);
	return ret->view ? 0 : -EINVAL;
}

static int named_source(struct wfs_eval *e, const struct wfs_node *n,
			const char *name, struct wfs_value *ret)
{
	int64_t at;
	int rc;

	if (e->ghosts)
		return ghost_source(e, name, ret);
	at = wfs_source_find(e->base, name);
	if (at >= 0)
		return wfs_eval_source(e, (uint32_t)at, ret);
	e->missing = true;
	rc = wfs_eval_fail(e, n,
			   "tensor '%s' is not in the checkpoint, though "
			   "config.json or other tensors ask for it: complete "
			   "the checkpoint",
			   name);
	if (!e->hf || ++e->absent > max_absent(e->base))
		return rc;
	return WFS_EVAL_ABSENT;
}

int wfs_evaluate_tensor(struct wfs_eval *e, const struct wfs_node *n,
			struct wfs_value *ret)
{
	struct wfs_value v = { .source = -1 };
	int rc = wfs_evaluate(e, n, &v);

	if (rc)
		return rc;
	if (v.kind == WFS_VALUE_TEXT)
		return named_source(e, n, v.text, ret);
	if (v.kind != WFS_VALUE_TENSOR)
		return wfs_eval_fail(e, n, "a tensor expected");
	*ret = v;
	return 0;
}

/* The result of a view maker, which has set the error where it is NULL. */
int wfs_op_made(struct wfs_eval *e, const struct wfs_node *n,
		const struct wfs_view *view, int64_t source,
		struct wfs_value *ret)
{
	*ret = (struct wfs_value){ .kind = WFS_VALUE_TENSOR,
				   .source = source,
				   .view = view };
	if (view)
		return 0;
	if (source >= 0)
		wfs_err_prefix(e->err, "tensor '%s'", wfs_op_source(e, ret));
	wfs_err_prefix(e->err, "%s:%u", n->file, n->line);
	if (e->err)
		e->err->code = -EINVAL;
	return -EINVAL;
}

int wfs_op_take_dim(struct wfs_eval *e, const struct wfs_node *n,
		    const struct wfs_value *v, const struct wfs_node *arg,
		    unsigned *ret)
{
	int64_t dim;
	int rc = wfs_evaluate_int(e, arg, &dim);

	if (rc)
		return rc;
	if (dim >= v->view->ndim)
		return wfs_eval_fail(e, n,
				     "tensor '%s' has no dim %" PRId64
				     ": it has %u",
				     wfs_op_source(e, v), dim, v->view->ndim);
	*ret = (unsigned)dim;
	return 0;
}

int wfs_op_dim_and_tensor(struct wfs_eval *e, const struct wfs_node *n,
			  uint32_t tensor, unsigned *dim, struct wfs_value *v)
{
	int rc = wfs_evaluate_tensor(e, n->args[tensor], v);

	return rc ? rc : wfs_op_take_dim(e, n, v, n->args[0], dim);
}

/* To whoever looks for parts. */
static void tell_part(struct wfs_eval *e, const struct wfs_value *v)
{
	if (v->source >= 0 && e->part)
		e->part(e, v->view, (uint32_t)v->source);
}

/* What several tensors come from, together. */
static int64_t join_sources(struct wfs_eval *e, const struct wfs_value *v,
			    uint32_t count)
{
	int64_t one = WFS_SOURCE_NONE;

	for (uint32_t i = 0; i < count; i++) {
		if (one == WFS_SOURCE_NONE)
			one = v[i].source;
		else if (v[i].source != WFS_SOURCE_NONE && v[i].source != one)
			one = WFS_SOURCE_MANY;
	}
	for (uint32_t i = 0; i < count && one == WFS_SOURCE_MANY; i++)
		tell_part(e, &v[i]);
	return one;
}

/* Is it as long as a ghost whose length is being tried? */
static bool is_loose(const struct wfs_eval *e, const struct wfs_view *v)
{
	bool loose = false;

	switch ((enum wfs_view_op)v->op) {
	case WFS_VIEW_SOURCE:
		return wfs_ghosts_tries(e->ghosts, v->name);
	case WFS_VIEW_CONST:
	case WFS_VIEW_RESHAPE:
		return false;
	case WFS_VIEW_CONCAT:
		for (uint32_t i = 0; i < v->count && !loose; i++)
			loose = is_loose(e, v->operands[i]);
		return loose;
	case WFS_VIEW_SLICE:
	case WFS_VIEW_TRANSPOSE:
	case WFS_VIEW_CAST:
		break;
	}
	return is_loose(e, v->operand);
}

/* Lengths that are not known cannot be told from their sum. */
static int check_loose(struct wfs_eval *e, const struct wfs_node *n,
		       const struct wfs_view *const *views, uint32_t count)
{
	uint32_t loose = 0;

	for (uint32_t i = 0; i < count && e->ghosts; i++)
		loose += is_loose(e, views[i]);
	return loose < 2 ? 0 : wfs_eval_fail(e, n, "%u unknown lengths", loose);
}

static int concat(struct wfs_eval *e, const struct wfs_node *n,
		  struct wfs_value *ret)
{
	struct wfs_value v[WFS_PLAN_ARGS] = { 0 };
	const struct wfs_view *views[WFS_PLAN_ARGS];
	uint32_t count = n->count - 1, found = 0;
	unsigned dim = 0;
	int rc = 0;

	for (uint32_t i = 0; i < count && rc >= 0; i++) {
		rc = wfs_evaluate_tensor(e, n->args[i + 1], &v[found]);
		views[found] = v[found].view;
		found += !rc;
	}
	if (rc < 0)
		return rc;
	if (found < count) {
		for (uint32_t i = 0; i < found; i++)
			tell_part(e, &v[i]);
		return WFS_EVAL_ABSENT;
	}
	rc = wfs_op_take_dim(e, n, &v[0], n->args[0], &dim);
	if (!rc)
		rc = check_loose(e, n, views, count);
	if (rc)
		return rc;
	return wfs_op_made(e, n,
			   wfs_view_concat(e->pool, views, count, dim, e->err),
			   join_sources(e, v, count), ret);
}

/* The same with a first dimension of 1. */
static const struct wfs_view *as_row(struct wfs_eval *e,
				     const struct wfs_view *view)
{
	uint64_t shape[WFS_VIEW_DIMS] = { 1 };

	if (view->ndim >= WFS_VIEW_DIMS) {
		wfs_err_set(e->err, -EINVAL, "too many dimensions to stack");
		return NULL;
	}
	memcpy(shape + 1, view->shape, view->ndim * sizeof(*shape));
	return wfs_view_reshape(e->pool, view, view->ndim + 1, shape, e->err);
}

/* One value of the index alone: for a part that somebody looks for. */
static int stack_only(struct wfs_eval *e, const struct wfs_node *n,
		      struct wfs_value *ret)
{
	struct wfs_value v = { .source = -1 };
	int rc = wfs_eval_bind(e, (uint32_t)n->number,
			       (uint64_t)e->only[n->number]);

	if (!rc)
		rc = wfs_evaluate_tensor(e, n->args[1], &v);
	e->bound[n->number] = false;
	if (rc)
		return rc;
	tell_part(e, &v);
	*ret = v;
	ret->source = WFS_SOURCE_MANY;
	return 0;
}

static int stack(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret)
{
	const struct wfs_view **views;
	bool absent = false;
	int64_t count;
	int rc;

	if (e->only[n->number] >= 0)
		return stack_only(e, n, ret);
	rc = wfs_evaluate_int(e, n->args[0], &count);
	if (rc)
		return rc;
	if (!count || count > MAX_STACK)
		return wfs_eval_fail(e, n,
				     "%" PRId64 " tensors cannot be "
				     "stacked",
				     count);
	views = wfs_pool_alloc(e->pool, (size_t)count * sizeof(*views), 1);
	for (int64_t i = 0; i < count; i++) {
		struct wfs_value v = { .source = -1 };

		rc = wfs_eval_bind(e, (uint32_t)n->number, (uint64_t)i);
		if (!rc)
			rc = wfs_evaluate_tensor(e, n->args[1], &v);
		absent |= rc == WFS_EVAL_ABSENT;
		if (rc == WFS_EVAL_ABSENT)
			continue;
		if (rc)
			break;
		tell_part(e, &v);
		views[i] = as_row(e, v.view);
		if (!views[i]) {
			rc = wfs_op_made(e, n, NULL, v.source, ret);
			break;
		}
	}
	e->bound[n->number] = false;
	if (rc < 0)
		return rc;
	if (absent)
		return WFS_EVAL_ABSENT;
	return wfs_op_made(e, n,
			   wfs_view_concat(e->pool, views, (unsigned)count, 0,
					   e->err),
			   WFS_SOURCE_MANY, ret);
}

static int transpose(struct wfs_eval *e, const struct wfs_node *n,
		     struct wfs_value *ret)
{
	struct wfs_value v = { .source = -1 };
	unsigned a = 0, b = 0;
	int rc = wfs_op_dim_and_tensor(e, n, 2, &a, &v);

	if (!rc)
		rc = wfs_op_take_dim(e, n, &v, n->args[1], &b);
	if (rc)
		return rc;
	return wfs_op_made(e, n,
			   wfs_view_transpose(e->pool, v.view, a, b, e->err),
			   v.source, ret);
}

int wfs_operate(struct wfs_eval *e, const struct wfs_node *n,
		struct wfs_value *ret)
{
	static wfs_op_fn *const table[WFS_OP_COUNT] = {
		[WFS_OP_SPLIT] = wfs_op_split,
		[WFS_OP_SHARE] = wfs_op_share,
		[WFS_OP_CONCAT] = concat,
		[WFS_OP_SLICE] = wfs_op_slice,
		[WFS_OP_STACK] = stack,
		[WFS_OP_PAD] = wfs_op_pad,
		[WFS_OP_TRANSPOSE] = transpose,
		[WFS_OP_RESHAPE] = wfs_op_reshape,
		[WFS_OP_CAST] = wfs_op_cast,
		[WFS_OP_CONST] = wfs_op_const,
		[WFS_OP_IF] = wfs_op_if,
		[WFS_OP_DIM] = wfs_op_dim,
		[WFS_OP_EXISTS] = wfs_op_exists,
		[WFS_OP_SAME] = wfs_op_same,
		[WFS_OP_MODULES] = wfs_op_modules,
		[WFS_OP_MATCHES] = wfs_op_matches,
		[WFS_OP_ITEM] = wfs_op_item,
	};

	if (n->slot == WFS_OP_REPLICATE)
		return wfs_evaluate_tensor(e, n->args[0], ret);
	return table[n->slot](e, n, ret);
}
