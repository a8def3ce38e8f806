/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: from an expression to pieces.
 *
 * What is wanted of a view is asked as a product of loops: each goes over one
 * dim of the view in steps, and over the file in steps of its own.  At first
 * that is all of the view.  A node turns the question into one, or a few, for
 * its operands: slices add to where it starts, a transposition renames dims,
 * a concatenation cuts loops where its parts meet, and a reshape makes loops
 * over all dims at once and cuts those where rows of the old shape end.  When
 * sources are reached, what is left of the loops is a piece.
 *
 * Places are counted in bits here, for elements that are less than a byte.
 */
#include <errno.h>
#include <string.h>

#include "core/plan/view_inner.h"

/* Deeper is no plan, and the stack has an end. */
#define DEPTH 500

void wfs_ask_set_count(struct wfs_ask *ask, unsigned loop, uint64_t count)
{
	ask->loops[loop].count = count;
	if (count == 1)
		ask->loops[loop] = ask->loops[--ask->n];
}

/* ---- pieces */

/* From bits to bytes; -EINVAL if there are halves. */
static int to_bytes(struct wfs_lowering *l, struct wfs_nest *nest)
{
	uint64_t all = nest->off | nest->at | nest->run;

	for (unsigned i = 0; i < nest->n; i++)
		all |= nest->loops[i].stride | nest->loops[i].step;
	if (all % 8)
		return wfs_err_set(l->err, -EINVAL,
				   "%s elements would have to be moved within "
				   "bytes",
				   wfs_dtype_name(l->dtype));
	nest->off /= 8;
	nest->at /= 8;
	nest->run /= 8;
	for (unsigned i = 0; i < nest->n; i++) {
		nest->loops[i].stride /= 8;
		nest->loops[i].step /= 8;
	}
	return 0;
}

/* The loops over dims of `shape`, elements of `bits`, as loops of a piece. */
static int add_piece(struct wfs_lowering *l, const struct wfs_piece *what,
		     const struct wfs_ask *ask, const uint64_t *strides,
		     uint64_t off)
{
	struct wfs_nest nest = { .off = off, .at = ask->at };
	int rc;

	nest.run = wfs_dtype_bits(l->dtype);
	for (unsigned i = 0; i < ask->n; i++) {
		const struct wfs_ask_loop *loop = &ask->loops[i];
		unsigned k = nest.n++;

		for (; k && nest.loops[k - 1].step < loop->file; k--)
			nest.loops[k] = nest.loops[k - 1];
		nest.loops[k].count = loop->count;
		nest.loops[k].step = loop->file;
		nest.loops[k].stride =
			strides ? loop->step * strides[loop->dim] : loop->file;
	}
	wfs_nest_tidy(&nest, ask->cast);
	rc = to_bytes(l, &nest);
	return rc ? rc : wfs_boxes_add(&l->boxes, what, &nest, l->err);
}

int wfs_view_lower_source(struct wfs_lowering *l, const struct wfs_view *v,
			  const struct wfs_view *shape,
			  const struct wfs_ask *ask)
{
	struct wfs_piece what = { .kind = WFS_PIECE_REGION };
	uint64_t strides[WFS_VIEW_DIMS];
	uint64_t stride = wfs_dtype_bits(v->dtype);
	uint64_t off = v->off * 8;

	if (v->off > UINT64_MAX / 16)
		return wfs_err_set(l->err, -EOVERFLOW,
				   "its offset is more than can be counted");
	for (unsigned i = shape->ndim; i--;) {
		strides[i] = stride;
		off += ask->start[i] * stride;
		stride *= shape->shape[i];
	}
	what.region = v->region;
	what.cast = (uint8_t)ask->cast;
	return add_piece(l, &what, ask, strides, off);
}

static int lower_const(struct wfs_lowering *l, const struct wfs_view *v,
		       const struct wfs_ask *ask)
{
	static const uint8_t zeros[8];
	struct wfs_piece what = { .kind = WFS_PIECE_CONST };
	unsigned bits = wfs_dtype_bits(l->dtype);
	struct wfs_ask plain = *ask;

	what.pattern_len = (uint8_t)(bits < 8 ? 1 : bits / 8);
	if (ask->cast)
		wfs_cast_run(ask->cast, what.pattern, v->pattern, 1);
	else
		memcpy(what.pattern, v->pattern, sizeof(what.pattern));
	if (!memcmp(what.pattern, zeros, what.pattern_len)) {
		what.kind = WFS_PIECE_ZERO;
		what.pattern_len = 0;
	}
	plain.cast = WFS_CAST_NONE;
	return add_piece(l, &what, &plain, NULL, 0);
}

/* ---- concatenations */

/* Elements [lo, hi) of the dim are `part`'s. */
struct part {
	const struct wfs_view *view;
	unsigned dim;
	uint64_t lo, hi;
};

/* The loop of `dim` with the largest step, whose times hold the others. */
static unsigned outermost(const struct wfs_ask *ask, unsigned dim)
{
	unsigned best = ask->n;

	for (unsigned i = 0; i < ask->n; i++)
		if (ask->loops[i].dim == dim &&
		    (best == ask->n ||
		     ask->loops[i].step > ask->loops[best].step))
			best = i;
	return best;
}

static uint64_t extent_of(const struct wfs_ask *ask, unsigned dim)
{
	uint64_t extent = 0;

	for (unsigned i = 0; i < ask->n; i++)
		if (ask->loops[i].dim == dim)
			extent +=
				(ask->loops[i].count - 1) * ask->loops[i].step;
	return extent;
}

/* Only times [from, from + count) of a loop. */
static struct wfs_ask some_times(const struct wfs_ask *ask, unsigned loop,
				 uint64_t from, uint64_t count)
{
	struct wfs_ask some = *ask;
	const struct wfs_ask_loop *which = &ask->loops[loop];

	some.start[which->dim] += from * which->step;
	some.at += from * which->file;
	wfs_ask_set_count(&some, loop, count);
	return some;
}

static int lower_part(struct wfs_lowering *l, const struct part *part,
		      const struct wfs_ask *ask);

static int each_time(struct wfs_lowering *l, const struct part *part,
		     const struct wfs_ask *ask, unsigned loop,
		     const uint64_t times[2])
{
	int rc = 0;

	for (uint64_t i = times[0]; i < times[1] && !rc; i++) {
		struct wfs_ask one = some_times(ask, loop, i, 1);

		rc = lower_part(l, part, &one);
	}
	return rc;
}

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return a ? (a - 1) / b + 1 : 0;
}

/* The times of a loop that a part has whole, and those at its ends. */
static int cut_loop(struct wfs_lowering *l, const struct part *part,
		    const struct wfs_ask *ask, unsigned loop)
{
	uint64_t first = ask->start[part->dim];
	uint64_t step = ask->loops[loop].step;
	uint64_t count = ask->loops[loop].count;
	uint64_t inner = extent_of(ask, part->dim) - (count - 1) * step;
	uint64_t some[2] = { 0, div_up(part->hi - first, step) };
	uint64_t whole[2] = { 0, 0 };
	struct wfs_ask middle;
	int rc;

	if (part->lo > first + inner)
		some[0] = div_up(part->lo - first - inner, step);
	if (some[1] > count)
		some[1] = count;
	if (part->lo > first)
		whole[0] = div_up(part->lo - first, step);
	if (part->hi > first + inner)
		whole[1] = div_up(part->hi - first - inner, step);
	if (whole[1] > count)
		whole[1] = count;
	if (whole[0] >= whole[1])
		return each_time(l, part, ask, loop, some);
	rc = each_time(l, part, ask, loop, (uint64_t[2]){ some[0], whole[0] });
	if (rc)
		return rc;
	middle = some_times(ask, loop, whole[0], whole[1] - whole[0]);
	rc = lower_part(l, part, &middle);
	if (rc)
		return rc;
	return each_time(l, part, ask, loop,
			 (uint64_t[2]){ whole[1], some[1] });
}

static int lower_part(struct wfs_lowering *l, const struct part *part,
		      const struct wfs_ask *ask)
{
	uint64_t first = ask->start[part->dim];
	uint64_t last = first + extent_of(ask, part->dim);
	struct wfs_ask all;

	if (last < part->lo || first >= part->hi)
		return 0;
	if (first < part->lo || last >= part->hi)
		return cut_loop(l, part, ask, outermost(ask, part->dim));
	all = *ask;
	all.start[part->dim] -= part->lo;
	return wfs_view_lower(l, part->view, &all);
}

static int lower_concat(struct wfs_lowering *l, const struct wfs_view *v,
			const struct wfs_ask *ask)
{
	struct part part = { .dim = v->dim };
	int rc = 0;

	for (uint32_t i = 0; i < v->count && !rc; i++) {
		part.view = v->operands[i];
		part.hi = part.lo + part.view->shape[v->dim];
		rc = lower_part(l, &part, ask);
		part.lo = part.hi;
	}
	return rc;
}

/* ---- the rest */

static void swap_dims(struct wfs_ask *ask, unsigned a, unsigned b)
{
	uint64_t start = ask->start[a];

	ask->start[a] = ask->start[b];
	ask->start[b] = start;
	for (unsigned i = 0; i < ask->n; i++) {
		if (ask->loops[i].dim == a)
			ask->loops[i].dim = b;
		else if (ask->loops[i].dim == b)
			ask->loops[i].dim = a;
	}
}

/* Uses `ask` up. */
static int lower_node(struct wfs_lowering *l, const struct wfs_view *v,
		      struct wfs_ask *ask)
{
	int cast;

	switch ((enum wfs_view_op)v->op) {
	case WFS_VIEW_SOURCE:
		return wfs_view_lower_source(l, v, v, ask);
	case WFS_VIEW_CONST:
		return lower_const(l, v, ask);
	case WFS_VIEW_CONCAT:
		return lower_concat(l, v, ask);
	case WFS_VIEW_RESHAPE:
		return wfs_view_lower_reshape(l, v, ask);
	case WFS_VIEW_SLICE:
		ask->start[v->dim] += v->off;
		return wfs_view_lower(l, v->operand, ask);
	case WFS_VIEW_TRANSPOSE:
		swap_dims(ask, v->dim, v->dim2);
		return wfs_view_lower(l, v->operand, ask);
	case WFS_VIEW_CAST:
		cast = wfs_cast_between(v->operand->dtype, v->dtype);
		ask->cast = wfs_cast_join((enum wfs_cast)cast, ask->cast);
		return wfs_view_lower(l, v->operand, ask);
	default:
		return wfs_err_set(l->err, -EINVAL, "it has op %u", v->op);
	}
}

int wfs_view_lower(struct wfs_lowering *l, const struct wfs_view *v,
		   struct wfs_ask *ask)
{
	int rc;

	if (l->depth == DEPTH)
		return wfs_err_set(l->err, -E2BIG,
				   "it is nested more than %d deep", DEPTH);
	l->depth++;
	rc = lower_node(l, v, ask);
	l->depth--;
	return rc;
}

static int lower_all(struct wfs_lowering *l, const struct wfs_view *v)
{
	struct wfs_ask ask = { .cast = WFS_CAST_NONE };
	uint64_t file = wfs_dtype_bits(v->dtype);

	for (unsigned i = v->ndim; i--;) {
		if (v->shape[i] > 1)
			ask.loops[ask.n++] = (struct wfs_ask_loop){
				.count = v->shape[i],
				.step = 1,
				.file = file,
				.dim = i,
			};
		file *= v->shape[i];
	}
	return wfs_view_lower(l, v, &ask);
}

int wfs_view_recipe(const struct wfs_view *v, struct wfs_recipe **ret_recipe,
		    struct wfs_err *err)
{
	struct wfs_lowering l = { .dtype = v->dtype, .err = err };
	uint64_t bytes = wfs_view_bytes(v);
	int rc = 0;

	if (bytes == UINT64_MAX)
		return wfs_err_set(err, -EOVERFLOW,
				   "its shape is more than can be counted in "
				   "bytes");
	if (bytes)
		rc = lower_all(&l, v);
	if (!rc) {
		wfs_boxes_join(&l.boxes);
		rc = wfs_boxes_recipe(&l.boxes, bytes, ret_recipe, err);
	}
	wfs_boxes_clear(&l.boxes);
	return rc;
}
