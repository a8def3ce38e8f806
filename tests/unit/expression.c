/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model of views.
 */
#include "tests/unit/t.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/unit/expression.h"

uint64_t expression_elements(const struct node *n)
{
	uint64_t total = 1;

	for (unsigned i = 0; i < n->ndim; i++)
		total *= n->shape[i];
	return total;
}

static uint64_t linear(const struct node *n, const uint64_t *at)
{
	uint64_t index = 0;

	for (unsigned i = 0; i < n->ndim; i++)
		index = index * n->shape[i] + at[i];
	return index;
}

static void unlinear(const struct node *n, uint64_t index, uint64_t *at)
{
	for (unsigned i = n->ndim; i--;) {
		at[i] = index % n->shape[i];
		index /= n->shape[i];
	}
}

static uint64_t bits_at(const unsigned char *from, uint64_t index,
			unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < width; i++) {
		uint64_t bit = index * width + i;

		value |= (uint64_t)(from[bit / 8] >> bit % 8 & 1) << i;
	}
	return value;
}

static void set_bits(unsigned char *to, uint64_t index, unsigned width,
		     uint64_t value)
{
	for (unsigned i = 0; i < width; i++) {
		uint64_t bit = index * width + i;

		if (value >> i & 1)
			to[bit / 8] |= (unsigned char)(1 << bit % 8);
	}
}

/* A floating value of 1 sign, `e` exponent and `m` mantissa bits, finite. */
static double value_of(uint64_t bits, int e, int m)
{
	int64_t mantissa = (int64_t)(bits & ((1ull << m) - 1));
	int exponent = (int)(bits >> m & ((1ull << e) - 1));
	int bias = (1 << (e - 1)) - 1;
	double value = exponent ? ldexp((double)(mantissa + (1ll << m)),
					exponent - bias - m) :
				  ldexp((double)mantissa, 1 - bias - m);

	return bits >> (e + m) ? -value : value;
}

static uint64_t f16_to_f32(uint64_t h)
{
	uint64_t sign = h >> 15 << 31;
	float f;
	uint32_t out;

	if ((h >> 10 & 31) == 31)
		return sign | 0x7f800000 | (h & 1023) << 13;
	f = (float)value_of(h, 5, 10);
	memcpy(&out, &f, sizeof(out));
	return out;
}

static uint64_t i64_to_f32(uint64_t i)
{
	float f = (float)(int64_t)i;
	uint32_t out;

	memcpy(&out, &f, sizeof(out));
	return out;
}

static uint64_t f32_to_bf16(uint64_t f)
{
	uint64_t low = f >> 16, high = low + 1;
	double x, below, above;

	if ((f >> 23 & 255) == 255) {
		if (f & 0x7fffff && !(low & 0x7f))
			return low | 0x40;
		return low;
	}
	x = fabs(value_of(f, 8, 23));
	below = fabs(value_of(low, 8, 7));
	/* What would follow the largest number, were there room. */
	above = (high >> 7 & 255) == 255 ? ldexp(1, 128) :
					   fabs(value_of(high, 8, 7));
	if (x - below == above - x)
		return low & 1 ? high : low;
	return x - below < above - x ? low : high;
}

static uint64_t cast_bits(uint64_t bits, enum wfs_dtype from, enum wfs_dtype to)
{
	uint64_t f = from == WFS_F32  ? bits :
		     from == WFS_BF16 ? bits << 16 :
		     from == WFS_I64  ? i64_to_f32(bits) :
					f16_to_f32(bits);

	return to == WFS_F32 ? f : f32_to_bf16(f);
}

static const unsigned char *bytes;

static uint64_t element(const struct node *n, const uint64_t *at)
{
	unsigned width = wfs_dtype_bits(n->dtype);
	uint64_t in[WFS_VIEW_DIMS] = { 0 };

	memcpy(in, at, n->ndim * sizeof(*at));
	switch (n->op) {
	case SOURCE:
		return bits_at(bytes + n->off, linear(n, at), width);
	case CONST:
		return bits_at(n->pattern, 0, width);
	case SLICE:
		in[n->dim] += n->off;
		break;
	case TRANSPOSE:
		in[n->dim] = at[n->dim2];
		in[n->dim2] = at[n->dim];
		break;
	case RESHAPE:
		unlinear(n->operands[0], linear(n, at), in);
		break;
	case CAST:
		return cast_bits(element(n->operands[0], at),
				 n->operands[0]->dtype, n->dtype);
	case CONCAT:
	default:
		for (unsigned i = 0; i < n->count; i++) {
			if (in[n->dim] < n->operands[i]->shape[n->dim])
				return element(n->operands[i], in);
			in[n->dim] -= n->operands[i]->shape[n->dim];
		}
		fail();
	}
	return element(n->operands[0], in);
}

unsigned char *expression_bytes(const struct node *n, const unsigned char *from,
				uint64_t size)
{
	unsigned char *out = wfs_calloc(1, size);
	uint64_t at[WFS_VIEW_DIMS] = { 0 };

	bytes = from;
	for (uint64_t i = 0; i < expression_elements(n); i++) {
		unlinear(n, i, at);
		set_bits(out, i, wfs_dtype_bits(n->dtype), element(n, at));
	}
	return out;
}
