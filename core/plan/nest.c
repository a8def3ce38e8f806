/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nests: one form for all pieces that put the same bytes in the same places.
 */
#include <string.h>

#include "core/plan/nest.h"

uint64_t wfs_cast_source(enum wfs_cast cast, uint64_t bytes)
{
	/* Divided first: sources that are wider must not overflow. */
	return bytes / wfs_cast_to(cast) * wfs_cast_from(cast);
}

/* Is `outer` only more of `inner`? */
static bool continues(const struct wfs_loop *outer,
		      const struct wfs_loop *inner)
{
	return outer->stride == inner->stride * inner->count &&
	       outer->step == inner->step * inner->count;
}

static void join_runs(struct wfs_nest *nest, enum wfs_cast cast)
{
	while (nest->n) {
		const struct wfs_loop *last = &nest->loops[nest->n - 1];

		if (last->step != nest->run ||
		    last->stride != wfs_cast_source(cast, nest->run))
			return;
		nest->run *= last->count;
		nest->n--;
	}
}

void wfs_nest_tidy(struct wfs_nest *nest, enum wfs_cast cast)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nest->n; i++) {
		struct wfs_loop loop = nest->loops[i];

		if (loop.count == 1)
			continue;
		if (n && continues(&nest->loops[n - 1], &loop)) {
			loop.count *= nest->loops[n - 1].count;
			n--;
		}
		nest->loops[n++] = loop;
	}
	nest->n = n;
	join_runs(nest, cast);
}

void wfs_nest_of(const struct wfs_piece *piece, struct wfs_nest *ret_nest)
{
	ret_nest->off = piece->off;
	ret_nest->at = piece->at;
	ret_nest->run = piece->run;
	ret_nest->n = piece->nloops;
	for (unsigned i = 0; i < piece->nloops; i++)
		ret_nest->loops[i] = piece->loops[i];
	if (piece->count > 1)
		ret_nest->loops[ret_nest->n++] = (struct wfs_loop){
			.count = piece->count,
			.stride = piece->stride,
			.step = piece->step ? piece->step : piece->run,
		};
	/* Zeros and constants have no source whose strides could differ. */
	if (piece->kind != WFS_PIECE_REGION)
		for (unsigned i = 0; i < ret_nest->n; i++)
			ret_nest->loops[i].stride = ret_nest->loops[i].step;
	wfs_nest_tidy(ret_nest, piece->kind == WFS_PIECE_REGION ?
					(enum wfs_cast)piece->cast :
					WFS_CAST_NONE);
}

uint64_t wfs_nest_extent(const struct wfs_nest *nest, unsigned level)
{
	uint64_t extent = nest->run;

	for (unsigned i = level; i < nest->n; i++)
		extent += (nest->loops[i].count - 1) * nest->loops[i].step;
	return extent;
}

uint64_t wfs_nest_reach(const struct wfs_nest *nest, enum wfs_cast cast)
{
	uint64_t reach = wfs_cast_source(cast, nest->run);

	for (unsigned i = 0; i < nest->n; i++)
		reach += (nest->loops[i].count - 1) * nest->loops[i].stride;
	return reach;
}

uint64_t wfs_nest_stretch(const struct wfs_nest *nest, enum wfs_cast cast)
{
	uint64_t stretch = wfs_cast_source(cast, nest->run);
	unsigned i = 0;

	/* Loops are in the order of the file: any may be the next. */
	while (i < nest->n) {
		const struct wfs_loop *loop = &nest->loops[i++];

		if (loop->stride != stretch || loop->count == 1)
			continue;
		stretch *= loop->count;
		i = 0;
	}
	return stretch;
}

bool wfs_odometer_next(struct wfs_odometer *o, const struct wfs_loop *loops,
		       unsigned n)
{
	while (n--) {
		const struct wfs_loop *loop = &loops[n];

		if (++o->at[n] < loop->count) {
			o->stride += loop->stride;
			o->step += loop->step;
			return true;
		}
		o->at[n] = 0;
		o->stride -= (loop->count - 1) * loop->stride;
		o->step -= (loop->count - 1) * loop->step;
	}
	return false;
}
