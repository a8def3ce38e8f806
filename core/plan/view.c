/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: making and checking the nodes, and writing them down.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/view_inner.h"

#define SHAPE_TEXT (WFS_VIEW_DIMS * 22 + 3)

/* "[4096, 14336]" */
static const char *shape_text(unsigned ndim, const uint64_t *shape, char *text)
{
	size_t len = 1;

	strcpy(text, "[");
	for (unsigned i = 0; i < ndim; i++)
		len += (size_t)sprintf(text + len, "%s%" PRIu64, i ? ", " : "",
				       shape[i]);
	strcpy(text + len, "]");
	return text;
}

static struct wfs_view *new_node(struct wfs_pool *pool, enum wfs_view_op op,
				 enum wfs_dtype dtype, unsigned ndim,
				 const uint64_t *shape)
{
	struct wfs_view *v;

	if (ndim > WFS_VIEW_DIMS)
		return NULL;
	v = wfs_pool_alloc(pool, sizeof(*v) + ndim * sizeof(*shape), 1);
	memset(v, 0, sizeof(*v));
	v->op = (uint8_t)op;
	v->dtype = dtype;
	v->ndim = (uint8_t)ndim;
	if (ndim)
		memcpy(v->shape, shape, ndim * sizeof(*shape));
	return v;
}

static struct wfs_view *new_on(struct wfs_pool *pool, enum wfs_view_op op,
			       const struct wfs_view *operand)
{
	struct wfs_view *v = new_node(pool, op, operand->dtype, operand->ndim,
				      operand->shape);

	v->operand = operand;
	v->count = 1;
	return v;
}

const struct wfs_view *wfs_view_source(struct wfs_pool *pool,
				       struct wfs_region *region, uint64_t off,
				       enum wfs_dtype dtype, unsigned ndim,
				       const uint64_t *shape)
{
	struct wfs_view *v =
		new_node(pool, WFS_VIEW_SOURCE, dtype, ndim, shape);

	if (!v)
		return NULL;
	v->region = region;
	v->off = off;
	return v;
}

const struct wfs_view *wfs_view_named(struct wfs_pool *pool,
				      const struct wfs_view *source,
				      const char *name)
{
	struct wfs_view *v;

	if (!source)
		return NULL;
	v = new_node(pool, (enum wfs_view_op)source->op, source->dtype,
		     source->ndim, source->shape);
	v->count = source->count;
	v->dim = source->dim;
	v->dim2 = source->dim2;
	memcpy(v->pattern, source->pattern, sizeof(v->pattern));
	v->off = source->off;
	v->name = name;
	return v;
}

static int has_dim(const struct wfs_view *v, unsigned dim, struct wfs_err *err)
{
	char text[SHAPE_TEXT];

	if (dim < v->ndim)
		return 0;
	return wfs_err_set(err, -EINVAL, "there is no dim %u in %s", dim,
			   shape_text(v->ndim, v->shape, text));
}

/* Can what was made be counted in bytes? */
static const struct wfs_view *countable(const struct wfs_view *v,
					struct wfs_err *err)
{
	char text[SHAPE_TEXT];
	uint64_t bytes;
	int rc = wfs_dtype_bytes(v->dtype, v->shape, v->ndim, &bytes);

	if (!rc)
		return v;
	wfs_err_set(err, rc, "%s of %s %s", shape_text(v->ndim, v->shape, text),
		    wfs_dtype_name(v->dtype),
		    rc == -EINVAL ? "does not fill whole bytes" :
				    "is more than 64 bits can count");
	return NULL;
}

const struct wfs_view *wfs_view_slice(struct wfs_pool *pool,
				      const struct wfs_view *v, unsigned dim,
				      uint64_t start, uint64_t len,
				      struct wfs_err *err)
{
	struct wfs_view *slice;

	if (!v || has_dim(v, dim, err))
		return NULL;
	if (start > v->shape[dim] || len > v->shape[dim] - start) {
		wfs_err_set(err, -EINVAL,
			    "dim %u has %" PRIu64 " elements, %" PRIu64
			    "..%" PRIu64 " asked for",
			    dim, v->shape[dim], start, start + len);
		return NULL;
	}
	if (len == v->shape[dim])
		return v;
	slice = new_on(pool, WFS_VIEW_SLICE, v);
	slice->dim = (uint8_t)dim;
	slice->off = start;
	slice->shape[dim] = len;
	return countable(slice, err);
}

/* Do all but one dim of `b` equal those of `a`? */
static int fits_beside(const struct wfs_view *a, const struct wfs_view *b,
		       unsigned dim, struct wfs_err *err)
{
	char text_a[SHAPE_TEXT], text_b[SHAPE_TEXT];
	bool fits = a->ndim == b->ndim;

	if (a->dtype != b->dtype)
		return wfs_err_set(err, -EINVAL,
				   "%s and %s cannot be concatenated",
				   wfs_dtype_name(a->dtype),
				   wfs_dtype_name(b->dtype));
	for (unsigned i = 0; fits && i < a->ndim; i++)
		fits = i == dim || a->shape[i] == b->shape[i];
	if (fits)
		return 0;
	return wfs_err_set(err, -EINVAL,
			   "%s and %s cannot be concatenated along dim %u",
			   shape_text(a->ndim, a->shape, text_a),
			   shape_text(b->ndim, b->shape, text_b), dim);
}

const struct wfs_view *wfs_view_concat(struct wfs_pool *pool,
				       const struct wfs_view *const *views,
				       unsigned count, unsigned dim,
				       struct wfs_err *err)
{
	const struct wfs_view **operands;
	struct wfs_view *v;
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++)
		if (!views[i])
			return NULL;
	if (!count) {
		wfs_err_set(err, -EINVAL, "there is nothing to concatenate");
		return NULL;
	}
	if (has_dim(views[0], dim, err))
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		if (fits_beside(views[0], views[i], dim, err))
			return NULL;
		if (__builtin_add_overflow(total, views[i]->shape[dim],
					   &total)) {
			wfs_err_set(err, -EOVERFLOW,
				    "dim %u is more than 64 bits can count",
				    dim);
			return NULL;
		}
	}
	if (count == 1)
		return views[0];
	operands = wfs_pool_alloc(pool, count * sizeof(*operands), 1);
	memcpy(operands, views, count * sizeof(*operands));
	v = new_node(pool, WFS_VIEW_CONCAT, views[0]->dtype, views[0]->ndim,
		     views[0]->shape);
	v->operands = operands;
	v->count = count;
	v->dim = (uint8_t)dim;
	v->shape[dim] = total;
	return countable(v, err);
}

const struct wfs_view *wfs_view_transpose(struct wfs_pool *pool,
					  const struct wfs_view *v,
					  unsigned dim, unsigned dim2,
					  struct wfs_err *err)
{
	struct wfs_view *t;

	if (!v || has_dim(v, dim, err) || has_dim(v, dim2, err))
		return NULL;
	if (dim == dim2)
		return v;
	t = new_on(pool, WFS_VIEW_TRANSPOSE, v);
	t->dim = (uint8_t)dim;
	t->dim2 = (uint8_t)dim2;
	t->shape[dim] = v->shape[dim2];
	t->shape[dim2] = v->shape[dim];
	return t;
}

const struct wfs_view *wfs_view_reshape(struct wfs_pool *pool,
					const struct wfs_view *v, unsigned ndim,
					const uint64_t *shape,
					struct wfs_err *err)
{
	char from[SHAPE_TEXT], to[SHAPE_TEXT];
	uint64_t before, after;
	struct wfs_view *r;

	if (!v)
		return NULL;
	if (ndim > WFS_VIEW_DIMS) {
		wfs_err_set(err, -EINVAL, "%u dims are more than %d", ndim,
			    WFS_VIEW_DIMS);
		return NULL;
	}
	/* As many bytes if each had one. */
	if (wfs_dtype_bytes(WFS_U8, v->shape, v->ndim, &before) ||
	    wfs_dtype_bytes(WFS_U8, shape, ndim, &after) || before != after) {
		wfs_err_set(err, -EINVAL,
			    "%s does not have as many elements as %s",
			    shape_text(v->ndim, v->shape, from),
			    shape_text(ndim, shape, to));
		return NULL;
	}
	r = new_node(pool, WFS_VIEW_RESHAPE, v->dtype, ndim, shape);
	r->operand = v;
	r->count = 1;
	return r;
}

const struct wfs_view *wfs_view_const(struct wfs_pool *pool,
				      enum wfs_dtype dtype, unsigned ndim,
				      const uint64_t *shape,
				      const void *pattern)
{
	unsigned bits = wfs_dtype_bits(dtype);
	struct wfs_view *v = new_node(pool, WFS_VIEW_CONST, dtype, ndim, shape);

	if (v)
		memcpy(v->pattern, pattern, bits < 8 ? 1 : bits / 8);
	return v;
}

const struct wfs_view *wfs_view_cast(struct wfs_pool *pool,
				     const struct wfs_view *v,
				     enum wfs_dtype dtype, struct wfs_err *err)
{
	struct wfs_view *cast;

	if (!v || v->dtype == dtype)
		return v;
	if (wfs_cast_between(v->dtype, dtype) < 0) {
		wfs_err_set(err, -EINVAL,
			    "%s cannot be cast to %s (BF16, F16 and I64 can to "
			    "F32, F32, F16 and I64 to BF16)",
			    wfs_dtype_name(v->dtype), wfs_dtype_name(dtype));
		return NULL;
	}
	cast = new_on(pool, WFS_VIEW_CAST, v);
	cast->dtype = dtype;
	return countable(cast, err);
}

uint64_t wfs_view_bytes(const struct wfs_view *v)
{
	uint64_t bytes;

	if (wfs_dtype_bytes(v->dtype, v->shape, v->ndim, &bytes))
		return UINT64_MAX;
	return bytes;
}
