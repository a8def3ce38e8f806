/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout beside what an engine has saved: tensor by tensor, rank by rank.
 */
#ifndef WFS_TOOLS_LAYOUT_DIFF_H
#define WFS_TOOLS_LAYOUT_DIFF_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/model.h"

enum wfs_layout_diff_kind {
	WFS_DIFF_DTYPE,
	WFS_DIFF_SHAPE,
	WFS_DIFF_BYTES,
	WFS_DIFF_MISSING, /* only the dump has it */
	WFS_DIFF_EXTRA,	  /* only the layout has it */
	WFS_DIFF_KINDS,
};

/* "dtype", "shape", "bytes", "missing", "extra" */
const char *wfs_layout_diff_name(enum wfs_layout_diff_kind kind);

struct wfs_layout_difference {
	enum wfs_layout_diff_kind kind;
	const char *rank;
	const struct wfs_tensor *layout, *dump; /* one of them may be NULL */
	uint64_t at; /* BYTES: the first one that differs */
};

struct wfs_layout_diff {
	uint64_t equal;
	uint64_t kinds[WFS_DIFF_KINDS]; /* how many of each */
	struct wfs_layout_difference *rows;
	size_t count;
};

/*
 * Compares every tensor of every rank, reading a little at a time.  Errors
 * are those of reading alone; differences are none.  Clear with
 * wfs_layout_diff_clear; the rows borrow from both models.
 */
int wfs_layout_diff(const struct wfs_model *layout,
		    const struct wfs_model *dump,
		    struct wfs_layout_diff *ret_diff, struct wfs_err *err);
void wfs_layout_diff_clear(struct wfs_layout_diff *diff);

#endif
