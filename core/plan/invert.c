/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views read backwards.  What is given of a node is a box of its elements;
 * each node says which boxes of its operands that gives.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/invert.h"
#include "core/plan/view_inner.h"

struct inverting {
	struct wfs_pool *pool;
	wfs_given_fn fn;
	void *ctx;
	int rc;
};

static void visit(struct inverting *in, const struct wfs_view *v,
		  const struct wfs_given *given);

/* Elements [start, start + len) of dim `dim` of what is given. */
static struct wfs_given part_of(struct inverting *in,
				const struct wfs_given *given, unsigned dim,
				uint64_t start, uint64_t len)
{
	struct wfs_given part = *given;

	part.view = wfs_view_slice(in->pool, given->view, dim,
				   start - given->start[dim], len, NULL);
	part.start[dim] = start;
	return part;
}

static void visit_concat(struct inverting *in, const struct wfs_view *v,
			 const struct wfs_given *given)
{
	unsigned dim = v->dim;
	uint64_t from = given->start[dim];
	uint64_t to = from + given->view->shape[dim], at = 0;

	for (uint32_t i = 0; i < v->count && at < to; i++) {
		const struct wfs_view *o = v->operands[i];
		uint64_t end = at + o->shape[dim];
		uint64_t lo = from > at ? from : at;
		uint64_t hi = to < end ? to : end;
		struct wfs_given part;

		if (lo < hi && o->op != WFS_VIEW_CONST) {
			part = part_of(in, given, dim, lo, hi - lo);
			part.start[dim] -= at;
			visit(in, o, &part);
		}
		at = end;
	}
}

/*
 * Dims before and behind those that a reshape changes stay; of those that it
 * does change all elements must be given.
 */
static void visit_reshape(struct inverting *in, const struct wfs_view *v,
			  const struct wfs_given *given)
{
	const struct wfs_view *o = v->operand, *w = given->view;
	unsigned n = v->ndim, m = o->ndim, head = 0, tail = 0;
	struct wfs_given part = { 0 };
	uint64_t shape[WFS_VIEW_DIMS] = { 0 };

	while (head < n && head < m && v->shape[head] == o->shape[head])
		head++;
	while (tail + head < n && tail + head < m &&
	       v->shape[n - 1 - tail] == o->shape[m - 1 - tail])
		tail++;
	for (unsigned i = head; i < n - tail; i++) {
		if (w->shape[i] == v->shape[i])
			continue;
		in->rc = -ENOTSUP;
		return;
	}
	memcpy(shape, o->shape, m * sizeof(*shape));
	memcpy(shape, w->shape, head * sizeof(*shape));
	memcpy(shape + m - tail, w->shape + n - tail, tail * sizeof(*shape));
	memcpy(part.start, given->start, head * sizeof(*shape));
	memcpy(part.start + m - tail, given->start + n - tail,
	       tail * sizeof(*shape));
	part.view = wfs_view_reshape(in->pool, w, m, shape, NULL);
	visit(in, o, &part);
}

static void visit_transpose(struct inverting *in, const struct wfs_view *v,
			    const struct wfs_given *given)
{
	struct wfs_given part = *given;

	part.view = wfs_view_transpose(in->pool, given->view, v->dim, v->dim2,
				       NULL);
	part.start[v->dim] = given->start[v->dim2];
	part.start[v->dim2] = given->start[v->dim];
	visit(in, v->operand, &part);
}

static void visit(struct inverting *in, const struct wfs_view *v,
		  const struct wfs_given *given)
{
	struct wfs_given part = *given;

	switch ((enum wfs_view_op)v->op) {
	case WFS_VIEW_SOURCE:
		in->fn(in->ctx, v, given);
		return;
	case WFS_VIEW_CONCAT:
		visit_concat(in, v, given);
		return;
	case WFS_VIEW_RESHAPE:
		visit_reshape(in, v, given);
		return;
	case WFS_VIEW_TRANSPOSE:
		visit_transpose(in, v, given);
		return;
	case WFS_VIEW_SLICE:
		part.start[v->dim] += v->off;
		visit(in, v->operand, &part);
		return;
	case WFS_VIEW_CAST:
	case WFS_VIEW_CONST:
		return;
	}
}

int wfs_view_invert(struct wfs_pool *pool, const struct wfs_view *v,
		    const struct wfs_view *values, wfs_given_fn fn, void *ctx)
{
	struct inverting in = { .pool = pool, .fn = fn, .ctx = ctx };
	struct wfs_given all = { .view = values };

	visit(&in, v, &all);
	return in.rc;
}

/* ---- the other way round: boxes become one view */

struct composing {
	struct wfs_pool *pool;
	unsigned ndim;
};

struct box {
	uint64_t start[WFS_VIEW_DIMS], len[WFS_VIEW_DIMS];
};

static bool touches(const struct wfs_given *g, const struct box *box,
		    unsigned ndim)
{
	for (unsigned i = 0; i < ndim; i++)
		if (g->start[i] >= box->start[i] + box->len[i] ||
		    g->start[i] + g->view->shape[i] <= box->start[i])
			return false;
	return true;
}

static bool holds(const struct wfs_given *g, const struct box *box,
		  unsigned ndim)
{
	for (unsigned i = 0; i < ndim; i++)
		if (g->start[i] > box->start[i] ||
		    g->start[i] + g->view->shape[i] <
			    box->start[i] + box->len[i])
			return false;
	return true;
}

static const struct wfs_view *cut_out(const struct composing *c,
				      const struct wfs_given *g,
				      const struct box *box)
{
	const struct wfs_view *view = g->view;

	for (unsigned i = 0; i < c->ndim; i++)
		view = wfs_view_slice(c->pool, view, i,
				      box->start[i] - g->start[i], box->len[i],
				      NULL);
	return view;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Where a dim is to be cut. */
struct cuts {
	uint64_t *at;
	uint32_t n;
	unsigned dim;
};

/* Where boxes begin and end within a dim of `box`. */
static void find_cuts(const struct wfs_given *given, uint32_t count,
		      const struct box *box, struct cuts *cuts)
{
	uint64_t lo = box->start[cuts->dim], hi = lo + box->len[cuts->dim];
	uint64_t *at = cuts->at;
	uint32_t n = 0, once = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t from = given[i].start[cuts->dim];
		uint64_t to = from + given[i].view->shape[cuts->dim];

		if (from > lo && from < hi)
			at[n++] = from;
		if (to > lo && to < hi)
			at[n++] = to;
	}
	qsort(at, n, sizeof(*at), by_number);
	for (uint32_t i = 0; i < n; i++)
		if (!once || at[once - 1] != at[i])
			at[once++] = at[i];
	cuts->n = once;
}

static const struct wfs_view *compose(const struct composing *c,
				      const struct wfs_given *given,
				      uint32_t count, const struct box *box);

/* Cut at every place, and put together again. */
static const struct wfs_view *cut(const struct composing *c,
				  const struct wfs_given *given, uint32_t count,
				  const struct box *box,
				  const struct cuts *cuts)
{
	unsigned dim = cuts->dim;
	const struct wfs_view **views wfs_autofree =
		wfs_calloc((size_t)cuts->n + 1, sizeof(*views));
	struct wfs_given *some wfs_autofree =
		wfs_calloc((size_t)count + 1, sizeof(*some));
	uint64_t at = box->start[dim], end = at + box->len[dim];

	for (uint32_t i = 0; i <= cuts->n; i++) {
		struct box part = *box;
		uint32_t touching = 0;

		part.start[dim] = at;
		at = i < cuts->n ? cuts->at[i] : end;
		part.len[dim] = at - part.start[dim];
		for (uint32_t k = 0; k < count; k++)
			if (touches(&given[k], &part, c->ndim))
				some[touching++] = given[k];
		views[i] = compose(c, some, touching, &part);
		if (!views[i])
			return NULL;
	}
	return wfs_view_concat(c->pool, views, cuts->n + 1, dim, NULL);
}

static const struct wfs_view *compose(const struct composing *c,
				      const struct wfs_given *given,
				      uint32_t count, const struct box *box)
{
	uint64_t *at wfs_autofree = NULL;
	struct cuts cuts;

	for (uint32_t i = 0; i < count; i++)
		if (holds(&given[i], box, c->ndim))
			return cut_out(c, &given[i], box);
	at = wfs_calloc((size_t)count * 2 + 1, sizeof(*at));
	cuts.at = at;
	for (cuts.dim = 0; cuts.dim < c->ndim; cuts.dim++) {
		find_cuts(given, count, box, &cuts);
		if (cuts.n)
			return cut(c, given, count, box, &cuts);
	}
	return NULL;
}

const struct wfs_view *wfs_view_compose(struct wfs_pool *pool, unsigned ndim,
					const uint64_t *shape,
					const struct wfs_given *given,
					uint32_t count)
{
	struct composing c = { .pool = pool, .ndim = ndim };
	struct box all = { 0 };

	if (ndim)
		memcpy(all.len, shape, ndim * sizeof(*shape));
	return compose(&c, given, count, &all);
}
