/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: a tensor of the output described by tensors of the checkpoint.
 *
 * A view is a node of an expression: a tensor in a region, or slices,
 * concatenations, transpositions … of other views.  It has a dtype and a
 * shape and costs nothing until it is asked for its recipe.  Nodes live in a
 * pool and are never freed one by one; they borrow their regions.
 *
 * Every maker returns NULL and a sentence when the shapes or dtypes do not
 * fit (the caller puts the tensor's name in front), and NULL, silently, when
 * an operand is NULL already, so that calls can be nested.
 */
#ifndef WFS_CORE_PLAN_VIEW_H
#define WFS_CORE_PLAN_VIEW_H

#include <stdint.h>

#include "core/base/err.h"
#include "core/model/dtype.h"
#include "core/model/pool.h"
#include "core/plan/recipe.h"

#define WFS_VIEW_DIMS 8

struct wfs_view {
	enum wfs_dtype dtype;
	uint8_t ndim; /* up to WFS_VIEW_DIMS */
	/* What it is made of: view*.c's own. */
	uint8_t op, dim, dim2;
	uint32_t count; /* operands */
	union {
		const struct wfs_view *operand;
		const struct wfs_view *const *operands;
		struct wfs_region *region;
		uint8_t pattern[8]; /* one element of a constant */
	};
	uint64_t off;	  /* bytes in the region, or start of a slice */
	const char *name; /* of a source, or NULL; borrowed */
	uint64_t shape[]; /* `ndim` of them */
};

/* Row-major bytes of a tensor at `off` in `region`.  NULL: too many dims. */
const struct wfs_view *wfs_view_source(struct wfs_pool *pool,
				       struct wfs_region *region, uint64_t off,
				       enum wfs_dtype dtype, unsigned ndim,
				       const uint64_t *shape);
/* A source under a name, for wfs_view_describe. */
const struct wfs_view *wfs_view_named(struct wfs_pool *pool,
				      const struct wfs_view *source,
				      const char *name);
/* Elements [start, start + len) of dimension `dim`. */
const struct wfs_view *wfs_view_slice(struct wfs_pool *pool,
				      const struct wfs_view *v, unsigned dim,
				      uint64_t start, uint64_t len,
				      struct wfs_err *err);
/* One after the other along `dim`; all else must be equal. */
const struct wfs_view *wfs_view_concat(struct wfs_pool *pool,
				       const struct wfs_view *const *views,
				       unsigned count, unsigned dim,
				       struct wfs_err *err);
const struct wfs_view *wfs_view_transpose(struct wfs_pool *pool,
					  const struct wfs_view *v,
					  unsigned dim, unsigned dim2,
					  struct wfs_err *err);
/* The same elements in the same row-major order under another shape. */
const struct wfs_view *wfs_view_reshape(struct wfs_pool *pool,
					const struct wfs_view *v, unsigned ndim,
					const uint64_t *shape,
					struct wfs_err *err);
/*
 * Every element has the same bits: `pattern`, as wide as the dtype.  Of
 * elements smaller than a byte: every byte.  NULL: too many dims.
 */
const struct wfs_view *wfs_view_const(struct wfs_pool *pool,
				      enum wfs_dtype dtype, unsigned ndim,
				      const uint64_t *shape,
				      const void *pattern);
/* BF16 or F16 -> F32; F32 or F16 -> BF16 (round to nearest even); the same
   dtype: the view itself.  Anything else is refused. */
const struct wfs_view *wfs_view_cast(struct wfs_pool *pool,
				     const struct wfs_view *v,
				     enum wfs_dtype dtype, struct wfs_err *err);

/* UINT64_MAX for what cannot be counted; its recipe is refused. */
uint64_t wfs_view_bytes(const struct wfs_view *v);

/*
 * The recipe of the view's row-major bytes, owned by the caller
 * (wfs_recipe_free), with a reference to every source.  Neighbouring pieces
 * that continue each other are joined, so that what is contiguous at the
 * source is one run.
 */
int wfs_view_recipe(const struct wfs_view *v, struct wfs_recipe **ret_recipe,
		    struct wfs_err *err);

/*
 * The expression, readable, for `plan show`: "slice(x.weight, 0, 128..256)".
 * A source without a name is its place: "a.safetensors[2048]".
 */
struct wfs_text;
void wfs_view_describe(const struct wfs_view *v, struct wfs_text *text);

/*
 * Which parts of which tensors it has: "dim=0 range=512:1024 of=2048" or
 * "none" where it is of one tensor, "constant", and of several
 * "a.weight dim=0 range=0:8 of=16; b.weight whole; constant".
 */
void wfs_view_split(const struct wfs_view *v, struct wfs_text *text);

#endif
