/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slow and obvious model of views: an expression over a buffer, whose
 * elements are found one at a time, in floating-point arithmetic.
 */
#ifndef WFS_TESTS_UNIT_EXPRESSION_H
#define WFS_TESTS_UNIT_EXPRESSION_H

#include "core/plan/view.h"

enum op { SOURCE, SLICE, CONCAT, TRANSPOSE, RESHAPE, CONST, CAST };

struct node {
	enum op op;
	enum wfs_dtype dtype;
	unsigned ndim, dim, dim2, count;
	uint64_t shape[WFS_VIEW_DIMS];
	uint64_t off;
	uint8_t pattern[8];
	const struct node *operands[4];
};

uint64_t expression_elements(const struct node *n);

/* All of it over `bytes`, row-major: `size` bytes, freed by the caller. */
unsigned char *expression_bytes(const struct node *n,
				const unsigned char *bytes, uint64_t size);

#endif
