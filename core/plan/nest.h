/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nests: a piece as nothing but loops, which reading and compiling share.
 */
#ifndef WFS_CORE_PLAN_NEST_H
#define WFS_CORE_PLAN_NEST_H

#include "core/plan/recipe.h"

struct wfs_nest {
	uint64_t off; /* of the first run, in the region */
	uint64_t at;  /* and in the file */
	uint64_t run; /* bytes of the file */
	unsigned n;
	/* The outermost first, which is the order of `step`; the last one
	   may have become the run's. */
	struct wfs_loop loops[WFS_LOOPS + 1];
};

/* Takes a piece apart: loops of one time vanish, dense ones are joined. */
void wfs_nest_of(const struct wfs_piece *piece, struct wfs_nest *ret_nest);
/* Does so with a nest; `cast` says what a run is at its source. */
void wfs_nest_tidy(struct wfs_nest *nest, enum wfs_cast cast);
/* Bytes of the file from the first to the last, from loop `level` inwards. */
uint64_t wfs_nest_extent(const struct wfs_nest *nest, unsigned level);
/* The most bytes of the region that follow each other. */
uint64_t wfs_nest_stretch(const struct wfs_nest *nest, enum wfs_cast cast);
/* Bytes of the region from the first to the last. */
uint64_t wfs_nest_reach(const struct wfs_nest *nest, enum wfs_cast cast);
/* Bytes at the source that make `bytes` of the file. */
uint64_t wfs_cast_source(enum wfs_cast cast, uint64_t bytes);

/* Visits the product of some loops; start with {0}. */
struct wfs_odometer {
	uint64_t at[WFS_LOOPS + 1];
	uint64_t stride, step; /* the sums */
};

/* The next one, or false after the last. */
bool wfs_odometer_next(struct wfs_odometer *o, const struct wfs_loop *loops,
		       unsigned n);

/*
 * Reads the bytes [lo, hi) of the file, those of them that are the piece's,
 * to where they lie in `buf`, which begins with byte lo.
 */
int wfs_piece_read(const struct wfs_piece *piece, const struct wfs_nest *nest,
		   char *buf, uint64_t lo, uint64_t hi);

#endif
