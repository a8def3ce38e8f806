/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Casts: elements of one type written as another, floating one.
 *
 * Every value goes by way of F32, so that casts can follow each other without
 * the values between being stored: what was rounded to BF16 on the way stays
 * rounded.  NaN stays NaN, with as much of its payload as there is room for.
 */
#ifndef WFS_CORE_PLAN_CAST_H
#define WFS_CORE_PLAN_CAST_H

#include <stddef.h>

#include "core/model/dtype.h"

enum wfs_cast {
	WFS_CAST_NONE,
	WFS_CAST_BF16_F32,
	WFS_CAST_F16_F32,
	WFS_CAST_F32_BF16, /* to the nearest, ties to even */
	WFS_CAST_F16_BF16,
	WFS_CAST_F32_BF16_F32, /* there and back */
	WFS_CAST_F16_BF16_F32,
	WFS_CAST_I64_F32,  /* to the nearest, ties to even */
	WFS_CAST_I64_BF16, /* rounded to F32 first, as engines do */
	WFS_CAST_I64_BF16_F32,
	WFS_CAST_COUNT,
};

/* The cast that takes `from` to `to`, or -EINVAL. */
int wfs_cast_between(enum wfs_dtype from, enum wfs_dtype to);
/* `first`, then `second`; their types must fit. */
enum wfs_cast wfs_cast_join(enum wfs_cast first, enum wfs_cast second);

/* Bytes of an element before and after; 1 and 1 for WFS_CAST_NONE. */
unsigned wfs_cast_from(enum wfs_cast cast);
unsigned wfs_cast_to(enum wfs_cast cast);

/* `n` elements from `src` to `dst`, neither of which need be aligned. */
void wfs_cast_run(enum wfs_cast cast, void *dst, const void *src, size_t n);

#endif
