/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that make something of a shape or a dtype.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/plan/operate.h"

int wfs_op_take_shape(struct wfs_eval *e, const struct wfs_node *n,
		      uint64_t *shape, unsigned *ndim)
{
	struct wfs_value v;
	int rc = wfs_evaluate(e, n, &v);

	if (rc)
		return rc;
	if (v.kind != WFS_VALUE_LIST || v.count > WFS_VIEW_DIMS)
		return wfs_eval_fail(e, n,
				     "a shape of at most %u dims "
				     "expected",
				     WFS_VIEW_DIMS);
	for (*ndim = 0; *ndim < v.count; ++*ndim) {
		const struct wfs_value *d = &v.items[*ndim];

		if (d->kind != WFS_VALUE_INT || d->number < 0)
			return wfs_eval_fail(e, n, "a shape holds numbers");
		shape[*ndim] = (uint64_t)d->number;
	}
	return 0;
}

int wfs_op_reshape(struct wfs_eval *e, const struct wfs_node *n,
		   struct wfs_value *ret)
{
	uint64_t shape[WFS_VIEW_DIMS] = { 0 };
	struct wfs_value v;
	unsigned ndim = 0;
	int rc = wfs_evaluate_tensor(e, n->args[1], &v);

	if (!rc)
		rc = wfs_op_take_shape(e, n->args[0], shape, &ndim);
	if (rc)
		return rc;
	if (e->ghosts)
		e->ghosts->formed = true;
	return wfs_op_made(
		e, n, wfs_view_reshape(e->pool, v.view, ndim, shape, e->err),
		v.source, ret);
}

int wfs_op_cast(struct wfs_eval *e, const struct wfs_node *n,
		struct wfs_value *ret)
{
	enum wfs_dtype dtype = WFS_U8;
	struct wfs_value v;
	int rc = wfs_evaluate_tensor(e, n->args[1], &v);

	if (!rc)
		rc = wfs_evaluate_dtype(e, n->args[0], &dtype);
	if (rc)
		return rc;
	if (e->ghosts)
		e->ghosts->cast = true;
	return wfs_op_made(e, n, wfs_view_cast(e->pool, v.view, dtype, e->err),
			   v.source, ret);
}

/* The bits of a number in a dtype; false where it has no such value. */
static bool pattern_of(enum wfs_dtype dtype, double real, uint8_t out[8])
{
	float narrow = (float)real;
	uint32_t bits;
	int64_t whole = (int64_t)real;

	memset(out, 0, 8);
	memcpy(&bits, &narrow, sizeof(bits));
	if (dtype == WFS_F64) {
		memcpy(out, &real, 8);
		return true;
	}
	if ((double)narrow < real || (double)narrow > real)
		return false;
	if (dtype == WFS_F32) {
		memcpy(out, &bits, 4);
		return true;
	}
	if (dtype == WFS_BF16) {
		memcpy(out, (uint8_t *)&bits + 2, 2);
		return !(bits & 0xffff);
	}
	if (dtype == WFS_F16) {
		uint32_t exponent = bits >> 23 & 0xff;
		uint16_t half = (uint16_t)(bits >> 16 & 0x8000);

		if (exponent)
			half = (uint16_t)(half | (exponent - 112) << 10 |
					  (bits >> 13 & 0x3ff));
		memcpy(out, &half, 2);
		return !(bits & 0x1fff) &&
		       (!(bits << 1) || (exponent > 112 && exponent < 143));
	}
	memcpy(out, &whole, 8);
	return wfs_dtype_bits(dtype) >= 8 &&
	       (whole == 0 || dtype == WFS_I64 || dtype == WFS_I32) &&
	       !((double)whole < real) && !((double)whole > real) &&
	       (dtype != WFS_I32 || (int32_t)whole == whole);
}

/* const(dtype, shape, number) */
int wfs_op_const(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret)
{
	uint64_t shape[WFS_VIEW_DIMS] = { 0 };
	enum wfs_dtype dtype = WFS_U8;
	uint8_t pattern[8];
	struct wfs_value v;
	unsigned ndim = 0;
	double real;
	int rc = wfs_evaluate_dtype(e, n->args[0], &dtype);

	if (!rc)
		rc = wfs_op_take_shape(e, n->args[1], shape, &ndim);
	if (!rc)
		rc = wfs_evaluate(e, n->args[2], &v);
	if (rc)
		return rc;
	if (v.kind != WFS_VALUE_INT && v.kind != WFS_VALUE_FLOAT)
		return wfs_eval_fail(e, n, "a constant is a number");
	real = v.kind == WFS_VALUE_INT ? (double)v.number : v.real;
	if (!pattern_of(dtype, real, pattern))
		return wfs_eval_fail(e, n, "%g cannot be had exactly as %s",
				     real, wfs_dtype_name(dtype));
	return wfs_op_made(e, n,
			   wfs_view_const(e->pool, dtype, ndim, shape, pattern),
			   WFS_SOURCE_NONE, ret);
}
