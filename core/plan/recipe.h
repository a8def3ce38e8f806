/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: how a virtual file is put together.
 *
 * A recipe is the ordered pieces that make up a file.  A piece is `count`
 * runs of `run` bytes, the first at `off` in a region and each next one
 * `stride` bytes further; or zeros; or a constant pattern.  Pieces know
 * nothing of tensors or engines.
 *
 *   plain slice      off, run = length, count = 1
 *   split along dim 1 off = rank * w, run = w, stride = row, count = rows
 */
#ifndef WFS_CORE_PLAN_RECIPE_H
#define WFS_CORE_PLAN_RECIPE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"
#include "core/source.h"

enum wfs_piece_kind {
	WFS_PIECE_REGION,
	WFS_PIECE_ZERO,
	WFS_PIECE_CONST, /* `pattern` repeated, `pattern_len` bytes */
};

struct wfs_piece {
	enum wfs_piece_kind kind;
	uint8_t pattern_len; /* 1 … 8, CONST only */
	uint8_t pattern[8];
	struct wfs_region *region; /* REGION only; borrowed */
	uint64_t off;		   /* bytes, REGION only */
	uint64_t run;		   /* bytes in one run */
	uint64_t stride; /* bytes from run to run; ignored if count is 1 */
	uint64_t count;	 /* runs */
};

struct wfs_recipe {
	uint64_t size; /* bytes: the sum of run * count */
	uint32_t n;
	const struct wfs_piece *pieces;
};

/*
 * 0, or -EINVAL with the rule that is broken: sizes that do not add up or
 * overflow, runs that leave their region, overlapping strides, empty pieces.
 */
int wfs_recipe_check(const struct wfs_recipe *recipe, struct wfs_err *err);

/*
 * Reads up to `len` bytes of the virtual file at `off`: short only at its
 * end, 0 past it, else a negative errno from the source.
 */
ssize_t wfs_recipe_read(const struct wfs_recipe *recipe, void *buf, size_t len,
			uint64_t off);

/* 0, or -ESTALE as soon as one region is no longer what was listed. */
int wfs_recipe_check_sources(const struct wfs_recipe *recipe);

/*
 * An owned copy that also holds a reference to every source named; free it
 * with wfs_recipe_free (NULL is fine).
 */
struct wfs_recipe *wfs_recipe_dup(const struct wfs_recipe *recipe);
void wfs_recipe_free(struct wfs_recipe *recipe);

#endif
