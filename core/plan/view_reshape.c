/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: asking what was reshaped.
 *
 * A reshape keeps the row-major order, so loops over the dims of the new
 * shape are loops over that order; and from there, dim by dim from the last,
 * over the dims of the old one.  A loop that steps over whole rows belongs to
 * the dims before; one that ends before its row does belongs to the last.
 * Others are cut where rows end; where that repeats itself, it is one more
 * loop instead of a cut for each row.
 */
#include <errno.h>
#include <string.h>

#include "core/plan/view_inner.h"

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static bool in_row(const struct wfs_ask_loop *loop, unsigned dim, uint64_t row)
{
	return loop->dim == dim && loop->step % row;
}

/* From the first element to the last along the loops inside rows. */
static uint64_t extent_in_row(const struct wfs_ask *ask, unsigned dim,
			      uint64_t row)
{
	uint64_t extent = 0;

	for (unsigned i = 0; i < ask->n; i++)
		if (in_row(&ask->loops[i], dim, row))
			extent +=
				(ask->loops[i].count - 1) * ask->loops[i].step;
	return extent;
}

static int spread(struct wfs_lowering *l, const struct wfs_view *v,
		  struct wfs_ask *ask, unsigned dim);

/*
 * As many times of a loop as repeat the same cuts: `period` times make whole
 * rows.  They become two loops.
 */
static int spread_periods(struct wfs_lowering *l, const struct wfs_view *v,
			  const struct wfs_ask *ask, unsigned loop,
			  uint64_t period)
{
	struct wfs_ask some = *ask;
	struct wfs_ask_loop outer = ask->loops[loop];

	if (some.n == WFS_LOOPS)
		return wfs_err_set(l->err, -E2BIG,
				   "it is put together in more than %d steps",
				   WFS_LOOPS);
	outer.count /= period;
	outer.step *= period;
	outer.file *= period;
	some.loops[some.n++] = outer;
	wfs_ask_set_count(&some, loop, period);
	return spread(l, v, &some, outer.dim);
}

/* How many times of a loop, from where `ask` is, end in their first row. */
static uint64_t times_in_row(const struct wfs_ask *ask, unsigned dim,
			     uint64_t row, unsigned loop)
{
	const struct wfs_ask_loop *which = &ask->loops[loop];
	uint64_t last = ask->start[dim] % row;

	last += extent_in_row(ask, dim, row) - (which->count - 1) * which->step;
	return last < row ? (row - 1 - last) / which->step + 1 : 0;
}

/* Cuts the loop with the largest step inside rows. */
static int cut_rows(struct wfs_lowering *l, const struct wfs_view *v,
		    struct wfs_ask *ask, unsigned dim, uint64_t row)
{
	unsigned loop = ask->n;
	uint64_t step, period, left;
	int rc = 0;

	for (unsigned i = 0; i < ask->n; i++)
		if (in_row(&ask->loops[i], dim, row) &&
		    (loop == ask->n ||
		     ask->loops[i].step > ask->loops[loop].step))
			loop = i;
	step = ask->loops[loop].step;
	period = row / gcd(row, step);
	left = ask->loops[loop].count;
	while (left && !rc) {
		uint64_t file = ask->loops[loop].file;
		uint64_t times = times_in_row(ask, dim, row, loop);
		struct wfs_ask some = *ask;

		/* Begin where a row does, then all periods are alike. */
		if (left >= 2 * period &&
		    (!times || ask->start[dim] % row < step)) {
			times = left / period * period;
			some.loops[loop].count = times;
			rc = spread_periods(l, v, &some, loop, period);
		} else {
			times = times ? times : 1;
			times = times < left ? times : left;
			wfs_ask_set_count(&some, loop, times);
			rc = spread(l, v, &some, dim);
		}
		left -= times;
		ask->start[dim] += times * step;
		ask->at += times * file;
		/* For times_in_row, which takes it off again. */
		ask->loops[loop].count = left ? left : 1;
	}
	return rc;
}

/*
 * Loops of dims after `dim` are right; those of `dim` go over that dim and
 * all before it, row by row.
 */
static int spread(struct wfs_lowering *l, const struct wfs_view *v,
		  struct wfs_ask *ask, unsigned dim)
{
	for (; dim; dim--) {
		uint64_t row = v->shape[dim];
		uint64_t first = ask->start[dim] % row;

		if (first + extent_in_row(ask, dim, row) >= row)
			return cut_rows(l, v, ask, dim, row);
		for (unsigned i = 0; i < ask->n; i++) {
			struct wfs_ask_loop *loop = &ask->loops[i];

			if (loop->dim == dim && loop->step % row == 0) {
				loop->dim = dim - 1;
				loop->step /= row;
			}
		}
		ask->start[dim - 1] = ask->start[dim] / row;
		ask->start[dim] = first;
	}
	return wfs_view_lower(l, v, ask);
}

/* Loops that only go on from each other become one. */
static void join_loops(struct wfs_ask *ask)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned i = 0; i < ask->n && !again; i++)
			for (unsigned k = 0; k < ask->n && !again; k++) {
				struct wfs_ask_loop *in = &ask->loops[i];
				struct wfs_ask_loop *out = &ask->loops[k];

				if (out->step != in->step * in->count ||
				    out->file != in->file * in->count)
					continue;
				in->count *= out->count;
				*out = ask->loops[--ask->n];
				again = true;
			}
	}
}

int wfs_view_lower_reshape(struct wfs_lowering *l, const struct wfs_view *v,
			   struct wfs_ask *ask)
{
	const struct wfs_view *old = v->operand;
	unsigned last;
	uint64_t stride = 1, start = 0;

	/* Only the outermost and the innermost shape matter. */
	while (old->op == WFS_VIEW_RESHAPE)
		old = old->operand;
	if (old->op == WFS_VIEW_SOURCE)
		return wfs_view_lower_source(l, old, v, ask);
	last = old->ndim ? old->ndim - 1u : 0;
	for (unsigned dim = v->ndim; dim--;) {
		start += ask->start[dim] * stride;
		for (unsigned i = 0; i < ask->n; i++)
			if (ask->loops[i].dim == dim)
				ask->loops[i].step *= stride;
		stride *= v->shape[dim];
	}
	for (unsigned i = 0; i < ask->n; i++)
		ask->loops[i].dim = last;
	memset(ask->start, 0, sizeof(ask->start));
	ask->start[last] = start;
	join_loops(ask);
	return spread(l, old, ask, last);
}
