/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of element types, and the one place that multiplies a shape.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/dtype.h"

static const struct {
	const char *name;
	unsigned bits;
} dtypes[WFS_DTYPE_COUNT] = {
	[WFS_BOOL] = { "BOOL", 8 },
	[WFS_F4] = { "F4", 4 },
	[WFS_F6_E2M3] = { "F6_E2M3", 6 },
	[WFS_F6_E3M2] = { "F6_E3M2", 6 },
	[WFS_U8] = { "U8", 8 },
	[WFS_I8] = { "I8", 8 },
	[WFS_F8_E5M2] = { "F8_E5M2", 8 },
	[WFS_F8_E4M3] = { "F8_E4M3", 8 },
	[WFS_F8_E8M0] = { "F8_E8M0", 8 },
	[WFS_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8 },
	[WFS_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8 },
	[WFS_I16] = { "I16", 16 },
	[WFS_U16] = { "U16", 16 },
	[WFS_F16] = { "F16", 16 },
	[WFS_BF16] = { "BF16", 16 },
	[WFS_I32] = { "I32", 32 },
	[WFS_U32] = { "U32", 32 },
	[WFS_F32] = { "F32", 32 },
	[WFS_F64] = { "F64", 64 },
	[WFS_I64] = { "I64", 64 },
	[WFS_U64] = { "U64", 64 },
	[WFS_C64] = { "C64", 64 },
};

const char *wfs_dtype_name(enum wfs_dtype dtype)
{
	return dtypes[dtype].name;
}

unsigned wfs_dtype_bits(enum wfs_dtype dtype)
{
	return dtypes[dtype].bits;
}

int wfs_dtype_parse(const char *name, size_t len)
{
	for (int i = 0; i < WFS_DTYPE_COUNT; i++)
		/* The first byte spares most names the rest. */
		if (len && *dtypes[i].name == *name &&
		    strlen(dtypes[i].name) == len &&
		    !memcmp(dtypes[i].name, name, len))
			return i;
	return -EINVAL;
}

int wfs_dtype_bytes(enum wfs_dtype dtype, const uint64_t *shape, unsigned ndim,
		    uint64_t *ret_bytes)
{
	uint64_t bits = 1;

	/* From left to right, as the reference does: [2^63, 4, 0] overflows. */
	for (unsigned i = 0; i < ndim; i++)
		if (__builtin_mul_overflow(bits, shape[i], &bits))
			return -EOVERFLOW;
	if (__builtin_mul_overflow(bits, (uint64_t)dtypes[dtype].bits, &bits))
		return -EOVERFLOW;
	if (bits % 8)
		return -EINVAL;
	*ret_bytes = bits / 8;
	return 0;
}

bool wfs_shape_equals(const uint64_t *a, unsigned a_ndim, const uint64_t *b,
		      unsigned b_ndim)
{
	return a_ndim == b_ndim &&
	       (!a_ndim || !memcmp(a, b, a_ndim * sizeof(*a)));
}

void wfs_shape_add(struct wfs_text *text, const uint64_t *shape, unsigned ndim)
{
	wfs_text_add(text, "[");
	for (unsigned i = 0; i < ndim; i++)
		wfs_text_add(text, "%s%" PRIu64, i ? ", " : "", shape[i]);
	wfs_text_add(text, "]");
}
