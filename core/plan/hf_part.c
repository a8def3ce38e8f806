/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rule takes of one tensor, as the tensor itself would be cut: casts,
 * transpositions, reshapes and padding taken away again.
 */
#include <errno.h>
#include <string.h>

#include "core/plan/inner.h"
#include "core/plan/view_inner.h"

#define NO_DIM 0xff

/* A view without what is to go, and which dim of it each dim became. */
struct own {
	const struct wfs_view *view;
	uint8_t dim[WFS_VIEW_DIMS];
	bool padded;
};

static bool find(struct wfs_pool *pool, const struct wfs_view *v,
		 struct own *ret);

static bool slice(struct wfs_pool *pool, const struct wfs_view *v,
		  struct own *own)
{
	uint8_t dim = own->dim[v->dim];
	uint64_t start = v->off, len = v->shape[v->dim], has;

	if (dim == NO_DIM)
		return false;
	/* What was padding is not there any more. */
	has = own->view->shape[dim];
	if (start > has)
		start = has;
	if (len > has - start)
		len = has - start;
	own->view = wfs_view_slice(pool, own->view, dim, start, len, NULL);
	return own->view;
}

static bool is_whole(const struct wfs_view *v, const struct wfs_view *like)
{
	if (v->name && v->name == like->name)
		return true;
	return v->op == WFS_VIEW_SOURCE && like->op == WFS_VIEW_SOURCE &&
	       v->region == like->region && v->off == like->off;
}

/* Padding at the end goes; what is joined otherwise must be of one kind. */
static bool concat(struct wfs_pool *pool, const struct wfs_view *v,
		   struct own *own)
{
	const struct wfs_view **views;
	uint32_t count = v->count, again = 0;

	while (count && v->operands[count - 1]->op == WFS_VIEW_CONST)
		count--;
	own->padded = count < v->count;
	views = wfs_pool_alloc(pool, (count + 1) * sizeof(*views), 1);
	for (uint32_t i = 0; i < count; i++) {
		struct own other = { 0 };

		if (v->operands[i]->op == WFS_VIEW_CONST ||
		    !find(pool, v->operands[i], &other) ||
		    (i && memcmp(other.dim, own->dim, sizeof(own->dim))))
			return false;
		views[i] = other.view;
		again += is_whole(other.view, views[0]);
		own->padded |= other.padded;
		memcpy(own->dim, other.dim, sizeof(own->dim));
	}
	if (!count || own->dim[v->dim] == NO_DIM)
		return false;
	/* A number of several layers that are one in the checkpoint. */
	if (again == count) {
		own->view = views[0];
		return true;
	}
	own->view = wfs_view_concat(pool, views, count, own->dim[v->dim], NULL);
	return own->view;
}

/* The dims before and behind those that a reshape changes stay. */
static void reshape(const struct wfs_view *v, struct own *own)
{
	const struct wfs_view *from = v->operand;
	uint8_t dim[WFS_VIEW_DIMS];
	unsigned n = v->ndim, m = from->ndim, i = 0, k = 0;

	memset(dim, NO_DIM, sizeof(dim));
	for (; i < n && i < m && v->shape[i] == from->shape[i]; i++)
		dim[i] = own->dim[i];
	for (; k + i < n && k + i < m &&
	       v->shape[n - 1 - k] == from->shape[m - 1 - k];
	     k++)
		dim[n - 1 - k] = own->dim[m - 1 - k];
	memcpy(own->dim, dim, sizeof(dim));
}

static bool find(struct wfs_pool *pool, const struct wfs_view *v,
		 struct own *ret)
{
	uint8_t dim;

	/* What has a name is a tensor, whatever it is made of. */
	if (v->name || v->op == WFS_VIEW_SOURCE) {
		ret->view = v;
		memset(ret->dim, NO_DIM, sizeof(ret->dim));
		for (uint8_t i = 0; i < v->ndim; i++)
			ret->dim[i] = i;
		return true;
	}
	switch ((enum wfs_view_op)v->op) {
	case WFS_VIEW_CONCAT:
		return concat(pool, v, ret);
	case WFS_VIEW_CONST:
		return false;
	case WFS_VIEW_SOURCE:
	case WFS_VIEW_CAST:
	case WFS_VIEW_SLICE:
	case WFS_VIEW_TRANSPOSE:
	case WFS_VIEW_RESHAPE:
		break;
	}
	if (!find(pool, v->operand, ret))
		return false;
	if (v->op == WFS_VIEW_SLICE)
		return slice(pool, v, ret);
	if (v->op == WFS_VIEW_RESHAPE)
		reshape(v, ret);
	if (v->op == WFS_VIEW_TRANSPOSE) {
		dim = ret->dim[v->dim];
		ret->dim[v->dim] = ret->dim[v->dim2];
		ret->dim[v->dim2] = dim;
	}
	return true;
}

const struct wfs_view *wfs_hf_part(struct wfs_pool *pool,
				   const struct wfs_view *view,
				   bool *ret_padded)
{
	struct own own = { 0 };

	if (!find(pool, view, &own))
		return view;
	if (ret_padded && own.padded)
		*ret_padded = true;
	return own.view;
}
