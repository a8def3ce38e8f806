/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors as elements, read a few at a time through recipes: nothing is
 * loaded as a whole, and a tensor that is cast or transposed reads as any
 * other.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

#define CHUNK 8192u /* elements */

int wfs_elements_open(const struct wfs_view *view, struct wfs_elements *ret,
		      struct wfs_err *err)
{
	unsigned bits;
	int rc;

	if (!view)
		return -EINVAL;
	bits = wfs_dtype_bits(view->dtype);
	if (bits % 8)
		return -EINVAL;
	*ret = (struct wfs_elements){ .size = bits / 8, .ndim = view->ndim };
	memcpy(ret->shape, view->shape, view->ndim * sizeof(*ret->shape));
	ret->count = wfs_view_bytes(view) / ret->size;
	rc = wfs_view_recipe(view, &ret->recipe, err);
	return rc;
}

void wfs_elements_close(struct wfs_elements *e)
{
	wfs_recipe_free(e->recipe);
	e->recipe = NULL;
}

int wfs_elements_read(const struct wfs_elements *e, void *buf, uint64_t at,
		      uint64_t count)
{
	size_t len = (size_t)(count * e->size);
	ssize_t n = wfs_recipe_read(e->recipe, buf, len, at * e->size);

	return n < 0 ? (int)n : (size_t)n == len ? 0 : -EIO;
}

int wfs_elements_constant(const struct wfs_elements *e, uint8_t bits[8])
{
	char *buf wfs_autofree = wfs_malloc((size_t)CHUNK * e->size);

	memset(bits, 0, 8);
	/* A little first: most tensors show at once that they are none. */
	for (uint64_t at = 0, n = 64; at < e->count; at += n, n = CHUNK) {
		int rc;

		n = n < e->count - at ? n : e->count - at;
		rc = wfs_elements_read(e, buf, at, n);
		if (rc)
			return rc;
		if (!at)
			memcpy(bits, buf, e->size < 8 ? e->size : 8);
		for (uint64_t i = 0; i < n; i++)
			if (memcmp(buf + i * e->size, bits, e->size) != 0)
				return 0;
	}
	return e->count > 0;
}

uint64_t wfs_elements_flat(const uint64_t *shape, unsigned ndim,
			   const uint64_t *at)
{
	uint64_t flat = 0;

	for (unsigned d = 0; d < ndim; d++)
		flat = flat * shape[d] + at[d];
	return flat;
}

const struct wfs_view *wfs_learn_dump_view(struct wfs_pool *pool,
					   const struct wfs_model *dump,
					   const struct wfs_tensor *t)
{
	return wfs_view_source(pool, dump->entries[t->shard].region, t->off,
			       (enum wfs_dtype)t->dtype, t->ndim, t->shape);
}

const struct wfs_view *wfs_learn_source_view(struct wfs_pool *pool,
					     const struct wfs_model *base,
					     uint32_t source, bool merged,
					     enum wfs_dtype dtype)
{
	const struct wfs_tensor *t = &base->ranks[0].tensors[source];
	uint64_t shape[WFS_VIEW_DIMS];
	const struct wfs_view *v;

	if (t->ndim > WFS_VIEW_DIMS ||
	    (merged && t->ndim == 1 && t->shape[0] != 1))
		return NULL;
	v = wfs_view_source(pool, base->entries[t->shard].region, t->off,
			    (enum wfs_dtype)t->dtype, t->ndim, t->shape);
	if (v && merged && t->ndim < 2) {
		shape[0] = 1;
		v = wfs_view_reshape(pool, v, 1u - t->ndim, shape, NULL);
	} else if (v && merged) {
		memcpy(shape, t->shape, t->ndim * sizeof(*shape));
		shape[t->ndim - 2] *= shape[t->ndim - 1];
		v = wfs_view_reshape(pool, v, t->ndim - 1u, shape, NULL);
	}
	return v ? wfs_view_cast(pool, v, dtype, NULL) : NULL;
}
