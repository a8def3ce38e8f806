/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: how a virtual file is put together.
 *
 * A recipe is the pieces that make up a file.  A piece is `count` runs of
 * `run` bytes, the first at `off` in a region and each next one `stride`
 * bytes further; or zeros; or a constant pattern.  Pieces know nothing of
 * tensors or engines.
 *
 *   plain slice       off, run = length, count = 1
 *   split along dim 1 off = rank * w, run = w, stride = row, count = rows
 *
 * That much is written by hand, and the pieces then follow each other.  What
 * views compile to (core/plan/view.h) may do more: runs lie `step` bytes
 * apart in the file, so that pieces interleave; all of it is repeated by
 * loops, so that a transposition is one piece, of runs of an element; and
 * elements are cast.
 */
#ifndef WFS_CORE_PLAN_RECIPE_H
#define WFS_CORE_PLAN_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"
#include "core/plan/cast.h"
#include "core/source.h"

enum wfs_piece_kind {
	WFS_PIECE_REGION,
	WFS_PIECE_ZERO,
	WFS_PIECE_CONST, /* `pattern` repeated, `pattern_len` bytes */
};

/* Repeats what is inside it: bytes from one time to the next. */
struct wfs_loop {
	uint64_t count;
	uint64_t stride; /* in the region */
	uint64_t step;	 /* in the file: past all that is inside */
};

#define WFS_LOOPS 24

struct wfs_piece {
	enum wfs_piece_kind kind;
	uint8_t pattern_len; /* 1 … 8, CONST only */
	uint8_t cast;	     /* enum wfs_cast, REGION only */
	uint8_t nloops;	     /* up to WFS_LOOPS */
	/*
	 * REGION only: how many files of this node, this one included, want
	 * just these bytes, and how many want bytes between its runs; 0 and
	 * 1: no other.  Hints for reading each byte of the source once.
	 */
	uint8_t same, around;
	union {
		uint8_t pattern[8];
		struct wfs_region *region; /* REGION only; borrowed */
	};
	uint64_t off;	 /* bytes, REGION only */
	uint64_t run;	 /* bytes of the file in one run */
	uint64_t stride; /* bytes from run to run; ignored if count is 1 */
	uint64_t count;	 /* runs */
	/* Not looked at in a recipe without `ends`. */
	uint64_t at;   /* where in the file its first run is */
	uint64_t step; /* bytes of the file from run to run; 0: `run` */
	const struct wfs_loop *loops; /* around the runs, the outermost first */
};

struct wfs_recipe {
	uint64_t size; /* bytes: those of all pieces */
	uint32_t n;
	const struct wfs_piece *pieces; /* in the order of `at` */
	/*
	 * How far the pieces up to each one reach.  NULL: a recipe written by
	 * hand, whose pieces have no loops and follow each other.
	 */
	const uint64_t *ends;
};

/*
 * 0, or -EINVAL with the rule that is broken: sizes that do not add up or
 * overflow, runs that leave their region, overlapping strides, empty pieces;
 * bytes of the file that no piece has, or two.
 */
int wfs_recipe_check(const struct wfs_recipe *recipe, struct wfs_err *err);

/*
 * Reads up to `len` bytes of the virtual file at `off`: short only at its
 * end, 0 past it, else a negative errno from the source.
 */
ssize_t wfs_recipe_read(const struct wfs_recipe *recipe, void *buf, size_t len,
			uint64_t off);

/*
 * Do the bytes at `off` lie in another order at their source, as those of a
 * transposition do?  The more of them are read at once the less it costs: a
 * row of the source gives each row of the file one element.
 */
bool wfs_recipe_is_turned(const struct wfs_recipe *recipe, uint64_t off);

/*
 * The first piece that may have something at `off` or after it, of a recipe
 * with `ends`.
 */
uint32_t wfs_recipe_first(const struct wfs_recipe *recipe, uint64_t off);

/*
 * How many bytes of the file from `off` on lie side by side in one region, as
 * they are: 0 where they are made, cast or spread.
 */
uint64_t wfs_recipe_plain(const struct wfs_recipe *recipe, uint64_t off,
			  struct wfs_region **ret_region, uint64_t *ret_off);

/* 0, or -ESTALE as soon as one region is no longer what was listed. */
int wfs_recipe_check_sources(const struct wfs_recipe *recipe);

/*
 * An owned copy that also holds a reference to every source named; free it
 * with wfs_recipe_free (NULL is fine).
 */
struct wfs_recipe *wfs_recipe_dup(const struct wfs_recipe *recipe);
/* One more owner of such a copy, which nobody may change from then on. */
struct wfs_recipe *wfs_recipe_get(struct wfs_recipe *recipe);
void wfs_recipe_free(struct wfs_recipe *recipe);

#endif
