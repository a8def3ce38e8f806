/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that take a part of a tensor, or add to it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/plan/operate.h"

/* split(dim, x[, units]): this rank's equal share, in whole units */
int wfs_op_split(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret)
{
	struct wfs_value v;
	int64_t units;
	uint64_t size;
	unsigned dim;
	int rc = wfs_op_dim_and_tensor(e, n, 1, &dim, &v);

	if (rc)
		return rc;
	size = v.view->shape[dim];
	if (n->count > 2 && e->tp > 1) {
		rc = wfs_evaluate_int(e, n->args[2], &units);
		if (rc)
			return rc;
		if (!units || size % (uint64_t)units || (uint64_t)units % e->tp)
			return wfs_eval_fail(
				e, n,
				"tensor '%s': dim %u is %" PRIu64 " in %" PRId64
				" parts that stay whole, which "
				"%u ranks cannot share equally: take a tp that "
				"divides them",
				wfs_op_source(e, &v), dim, size, units, e->tp);
	}
	if (size % e->tp)
		return wfs_eval_fail(e, n,
				     "tensor '%s': dim %u is %" PRIu64
				     ", which %u ranks cannot share equally: "
				     "take a tp that divides it",
				     wfs_op_source(e, &v), dim, size, e->tp);
	size /= e->tp;
	return wfs_op_made(e, n,
			   wfs_view_slice(e->pool, v.view, dim, size * e->rank,
					  size, e->err),
			   v.source, ret);
}

/* share(dim, x, heads): as split; with fewer heads than ranks, rank r has
   head r / (tp / heads) */
int wfs_op_share(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret)
{
	struct wfs_value v;
	uint64_t size, heads, first;
	int64_t number;
	unsigned dim;
	int rc = wfs_op_dim_and_tensor(e, n, 1, &dim, &v);

	if (!rc)
		rc = wfs_evaluate_int(e, n->args[2], &number);
	if (rc)
		return rc;
	heads = (uint64_t)number;
	size = v.view->shape[dim];
	if (!heads || size % heads)
		return wfs_eval_fail(e, n,
				     "tensor '%s': dim %u is %" PRIu64
				     ", which is not %" PRIu64 " heads, as "
				     "config.json says",
				     wfs_op_source(e, &v), dim, size, heads);
	if (heads >= e->tp ? heads % e->tp : e->tp % heads)
		return wfs_eval_fail(e, n,
				     "tensor '%s': dim %u is %" PRIu64
				     " heads, which %u ranks can neither share"
				     " nor repeat equally: take another tp",
				     wfs_op_source(e, &v), dim, heads, e->tp);
	size /= heads;
	first = heads >= e->tp ? e->rank * (heads / e->tp) :
				 e->rank / (e->tp / heads);
	heads = heads >= e->tp ? heads / e->tp : 1;
	return wfs_op_made(e, n,
			   wfs_view_slice(e->pool, v.view, dim, first * size,
					  heads * size, e->err),
			   v.source, ret);
}

/* slice(dim, start, len, x) */
int wfs_op_slice(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret)
{
	struct wfs_value v;
	int64_t start, len;
	unsigned dim;
	int rc = wfs_op_dim_and_tensor(e, n, 3, &dim, &v);

	if (!rc)
		rc = wfs_evaluate_int(e, n->args[1], &start);
	if (!rc)
		rc = wfs_evaluate_int(e, n->args[2], &len);
	if (rc)
		return rc;
	return wfs_op_made(e, n,
			   wfs_view_slice(e->pool, v.view, dim, (uint64_t)start,
					  (uint64_t)len, e->err),
			   v.source, ret);
}

/* pad(dim, multiple, x): zeros up to a multiple */
int wfs_op_pad(struct wfs_eval *e, const struct wfs_node *n,
	       struct wfs_value *ret)
{
	const struct wfs_view *both[2];
	uint64_t shape[WFS_VIEW_DIMS], zero = 0, size;
	struct wfs_value v;
	int64_t multiple;
	unsigned dim;
	int rc = wfs_op_dim_and_tensor(e, n, 2, &dim, &v);

	if (!rc)
		rc = wfs_evaluate_int(e, n->args[1], &multiple);
	if (rc)
		return rc;
	size = v.view->shape[dim];
	if (!multiple)
		return wfs_eval_fail(e, n, "padding to a multiple of 0");
	if (!(size % (uint64_t)multiple)) {
		*ret = v;
		return 0;
	}
	memcpy(shape, v.view->shape, sizeof(shape));
	shape[dim] = (uint64_t)multiple - size % (uint64_t)multiple;
	both[0] = v.view;
	both[1] = wfs_view_const(e->pool, v.view->dtype, v.view->ndim, shape,
				 &zero);
	return wfs_op_made(e, n, wfs_view_concat(e->pool, both, 2, dim, e->err),
			   v.source, ret);
}
