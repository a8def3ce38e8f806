/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views, written down.
 */
#include <inttypes.h>

#include "core/base/text.h"
#include "core/plan/view_inner.h"

static void add_const(const struct wfs_view *v, struct wfs_text *text)
{
	unsigned bits = wfs_dtype_bits(v->dtype);

	wfs_text_add(text, "const(%s ", wfs_dtype_name(v->dtype));
	wfs_shape_add(text, v->shape, v->ndim);
	/* The most significant digits first, as numbers are written. */
	wfs_text_add(text, ", 0x");
	for (unsigned i = bits < 8 ? 1 : bits / 8; i--;)
		wfs_text_add(text, "%02x", v->pattern[i]);
	wfs_text_add(text, ")");
}

static void add_concat(const struct wfs_view *v, struct wfs_text *text)
{
	wfs_text_add(text, "concat(%u", v->dim);
	for (uint32_t i = 0; i < v->count; i++) {
		wfs_text_add(text, ", ");
		wfs_view_describe(v->operands[i], text);
	}
	wfs_text_add(text, ")");
}

static void add_unary(const struct wfs_view *v, struct wfs_text *text)
{
	wfs_view_describe(v->operand, text);
	switch ((enum wfs_view_op)v->op) {
	case WFS_VIEW_SLICE:
		wfs_text_add(text, ", %u, %" PRIu64 "..%" PRIu64 ")", v->dim,
			     v->off, v->off + v->shape[v->dim]);
		break;
	case WFS_VIEW_TRANSPOSE:
		wfs_text_add(text, ", %u, %u)", v->dim, v->dim2);
		break;
	case WFS_VIEW_RESHAPE:
		wfs_text_add(text, ", ");
		wfs_shape_add(text, v->shape, v->ndim);
		wfs_text_add(text, ")");
		break;
	case WFS_VIEW_CAST:
	case WFS_VIEW_SOURCE:
	case WFS_VIEW_CONCAT:
	case WFS_VIEW_CONST:
	default:
		wfs_text_add(text, ", %s)", wfs_dtype_name(v->dtype));
	}
}

void wfs_view_describe(const struct wfs_view *v, struct wfs_text *text)
{
	static const char *const names[] = {
		[WFS_VIEW_SLICE] = "slice",
		[WFS_VIEW_TRANSPOSE] = "transpose",
		[WFS_VIEW_RESHAPE] = "reshape",
		[WFS_VIEW_CAST] = "cast",
	};

	if (v->name) {
		wfs_text_add(text, "%s", v->name);
	} else if (v->op == WFS_VIEW_SOURCE) {
		wfs_text_add(text, "%s[%" PRIu64 "]", v->region->path, v->off);
	} else if (v->op == WFS_VIEW_CONST) {
		add_const(v, text);
	} else if (v->op == WFS_VIEW_CONCAT) {
		add_concat(v, text);
	} else {
		wfs_text_add(text, "%s(", names[v->op]);
		add_unary(v, text);
	}
}
