/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types as safetensors names them.  Widths are in bits: F4 and the
 * F6 variants are smaller than a byte, and a tensor of such elements must
 * fill whole bytes.  Source: the safetensors format description and the
 * `Dtype` enumeration of its reference implementation.
 */
#ifndef WFS_CORE_MODEL_DTYPE_H
#define WFS_CORE_MODEL_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wfs_text;

enum wfs_dtype {
	WFS_BOOL,
	WFS_F4,
	WFS_F6_E2M3,
	WFS_F6_E3M2,
	WFS_U8,
	WFS_I8,
	WFS_F8_E5M2,
	WFS_F8_E4M3,
	WFS_F8_E8M0,
	WFS_F8_E5M2FNUZ,
	WFS_F8_E4M3FNUZ,
	WFS_I16,
	WFS_U16,
	WFS_F16,
	WFS_BF16,
	WFS_I32,
	WFS_U32,
	WFS_F32,
	WFS_F64,
	WFS_I64,
	WFS_U64,
	WFS_C64,
	WFS_DTYPE_COUNT,
};

/* "BF16"; never NULL for a valid dtype. */
const char *wfs_dtype_name(enum wfs_dtype dtype);
unsigned wfs_dtype_bits(enum wfs_dtype dtype);
/* The dtype of that name (`len` bytes, no NUL needed), or -EINVAL. */
int wfs_dtype_parse(const char *name, size_t len);
/*
 * Bytes of a tensor: -EOVERFLOW when the product leaves 64 bits, -EINVAL when
 * the elements do not fill whole bytes.
 */
int wfs_dtype_bytes(enum wfs_dtype dtype, const uint64_t *shape, unsigned ndim,
		    uint64_t *ret_bytes);

/* Of shapes, which may be NULL for scalars. */
bool wfs_shape_equals(const uint64_t *a, unsigned a_ndim, const uint64_t *b,
		      unsigned b_ndim);
/* Adds "[2, 3]". */
void wfs_shape_add(struct wfs_text *text, const uint64_t *shape, unsigned ndim);

#endif
