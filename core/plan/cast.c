/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Casts, in integer arithmetic that compilers turn into vector code and that
 * no rounding mode of the caller can change.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/plan/cast.h"

/* A cast is where it starts, where it ends, and whether it rounds to BF16. */
static const struct {
	enum wfs_dtype from, to;
	int rounds;
} casts[WFS_CAST_COUNT] = {
	[WFS_CAST_NONE] = { WFS_U8, WFS_U8, 0 },
	[WFS_CAST_BF16_F32] = { WFS_BF16, WFS_F32, 0 },
	[WFS_CAST_F16_F32] = { WFS_F16, WFS_F32, 0 },
	[WFS_CAST_F32_BF16] = { WFS_F32, WFS_BF16, 1 },
	[WFS_CAST_F16_BF16] = { WFS_F16, WFS_BF16, 1 },
	[WFS_CAST_F32_BF16_F32] = { WFS_F32, WFS_F32, 1 },
	[WFS_CAST_F16_BF16_F32] = { WFS_F16, WFS_F32, 1 },
	[WFS_CAST_I64_F32] = { WFS_I64, WFS_F32, 0 },
	[WFS_CAST_I64_BF16] = { WFS_I64, WFS_BF16, 1 },
	[WFS_CAST_I64_BF16_F32] = { WFS_I64, WFS_F32, 1 },
};

static int find(enum wfs_dtype from, enum wfs_dtype to, int rounds)
{
	for (int i = WFS_CAST_NONE + 1; i < WFS_CAST_COUNT; i++)
		if (casts[i].from == from && casts[i].to == to &&
		    casts[i].rounds == rounds)
			return i;
	return -EINVAL;
}

int wfs_cast_between(enum wfs_dtype from, enum wfs_dtype to)
{
	if (from == to)
		return WFS_CAST_NONE;
	return find(from, to, to == WFS_BF16);
}

enum wfs_cast wfs_cast_join(enum wfs_cast first, enum wfs_cast second)
{
	enum wfs_dtype from = casts[first].from;
	int joined;

	if (first == WFS_CAST_NONE)
		return second;
	if (second == WFS_CAST_NONE)
		return first;
	assert(casts[first].to == casts[second].from);
	/* What begins as BF16 is not changed by rounding. */
	if (from == WFS_BF16)
		joined = wfs_cast_between(from, casts[second].to);
	else
		joined = find(from, casts[second].to,
			      casts[first].rounds || casts[second].rounds);
	assert(joined >= 0);
	return (enum wfs_cast)joined;
}

unsigned wfs_cast_from(enum wfs_cast cast)
{
	return wfs_dtype_bits(casts[cast].from) / 8;
}

unsigned wfs_cast_to(enum wfs_cast cast)
{
	return wfs_dtype_bits(casts[cast].to) / 8;
}

static inline uint32_t from_f16(uint16_t h)
{
	int32_t bits = h & 0x7fff;
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	float small = (float)bits * 0x1p-24f; /* exact if subnormal */
	uint32_t large = ((uint32_t)bits << 13) + (112u << 23);
	/* Masks: a choice with `?` makes a compiler branch around `small`. */
	uint32_t is_small = -(uint32_t)(bits < 0x0400);
	uint32_t is_last = -(uint32_t)(bits >= 0x7c00);
	uint32_t out;

	__builtin_memcpy(&out, &small, sizeof(out));
	out = (out & is_small) | (large & ~is_small);
	/* Infinities and NaN: the largest exponent. */
	return sign | out | (is_last & 0x7f800000u);
}

static inline uint32_t from_bf16(uint16_t b)
{
	return (uint32_t)b << 16;
}

static inline uint32_t from_i64(int64_t v)
{
	uint32_t sign = v < 0 ? 1u << 31 : 0;
	uint64_t m = v < 0 ? -(uint64_t)v : (uint64_t)v;
	uint64_t top, rest, half;
	unsigned e, low;

	if (!m)
		return 0;
	e = 63 - (unsigned)__builtin_clzll(m);
	if (e <= 23)
		return sign | (((e + 126) << 23) + (uint32_t)(m << (23 - e)));
	low = e - 23;
	top = m >> low;
	rest = m & (((uint64_t)1 << low) - 1);
	half = (uint64_t)1 << (low - 1);
	top += rest > half || (rest == half && top & 1);
	/* The leading one, or what it carries, counts up the exponent. */
	return sign | (((e + 126) << 23) + (uint32_t)top);
}

static inline uint32_t to_bf16(uint32_t f)
{
	uint32_t top = f >> 16;
	uint32_t rounded = (f + 0x7fffu + (top & 1)) >> 16;
	/* A NaN whose payload is all below would become an infinity. */
	uint32_t nan = top & 0x7f ? top : top | 0x40;

	return (int32_t)(f & 0x7fffffffu) > 0x7f800000 ? nan : rounded;
}

/*
 * Blocks of a fixed number of elements, since that is what compilers turn
 * into vector code without being asked twice.
 */
#define BLOCK 64

/*
 * Every cast is compiled a second time for what processors have had since
 * 2013: without the instructions to compare and to pack integers there is no
 * vector code, and F16 to BF16 is ten times as slow as a copy.
 */
#ifdef __x86_64__
#define WIDE	   __attribute__((target("avx2")))
#define HAS_WIDE() __builtin_cpu_supports("avx2")
#else
#define WIDE
#define HAS_WIDE() false
#endif

#define CAST_BLOCKS(some, from_t, to_t)                                        \
	for (; n >= BLOCK; n -= BLOCK) {                                       \
		some(out, in, BLOCK);                                          \
		out += BLOCK * sizeof(to_t);                                   \
		in += BLOCK * sizeof(from_t);                                  \
	}                                                                      \
	some(out, in, n)

/*
 * A function that casts elements of one type; `expr` makes one of `x`.  The
 * builtin: _FORTIFY_SOURCE's memcpy is no load to a vectoriser.
 */
#define CAST(name, from_t, to_t, expr)                                         \
	static inline __attribute__((always_inline)) void name##_some(         \
		char *restrict out, const char *restrict in, size_t n)         \
	{                                                                      \
		for (size_t i = 0; i < n; i++) {                               \
			from_t x;                                              \
			to_t y;                                                \
                                                                               \
			__builtin_memcpy(&x, in + i * sizeof(x), sizeof(x));   \
			y = (to_t)(expr);                                      \
			__builtin_memcpy(out + i * sizeof(y), &y, sizeof(y));  \
		}                                                              \
	}                                                                      \
	static void name##_plain(char *out, const char *in, size_t n)          \
	{                                                                      \
		CAST_BLOCKS(name##_some, from_t, to_t);                        \
	}                                                                      \
	WIDE static void name##_wide(char *out, const char *in, size_t n)      \
	{                                                                      \
		CAST_BLOCKS(name##_some, from_t, to_t);                        \
	}                                                                      \
	static void name(char *out, const char *in, size_t n)                  \
	{                                                                      \
		if (HAS_WIDE())                                                \
			name##_wide(out, in, n);                               \
		else                                                           \
			name##_plain(out, in, n);                              \
	}

CAST(bf16_f32, uint16_t, uint32_t, from_bf16(x))
CAST(f16_f32, uint16_t, uint32_t, from_f16(x))
CAST(f32_bf16, uint32_t, uint16_t, to_bf16(x))
CAST(f32_bf16_f32, uint32_t, uint32_t, from_bf16((uint16_t)to_bf16(x)))
CAST(f16_bf16_f32, uint16_t, uint32_t,
     from_bf16((uint16_t)to_bf16(from_f16(x))))
CAST(i64_f32, int64_t, uint32_t, from_i64(x))
CAST(i64_bf16, int64_t, uint16_t, to_bf16(from_i64(x)))
CAST(i64_bf16_f32, int64_t, uint32_t, from_bf16((uint16_t)to_bf16(from_i64(x))))

/* By way of F32: in one step it is four times as slow. */
static void f16_bf16(char *out, const char *in, size_t n)
{
	uint32_t between[4 * BLOCK];

	while (n) {
		size_t some = n < 4 * BLOCK ? n : 4 * BLOCK;

		f16_f32((char *)between, in, some);
		f32_bf16(out, (char *)between, some);
		out += some * 2;
		in += some * 2;
		n -= some;
	}
}

void wfs_cast_run(enum wfs_cast cast, void *dst, const void *src, size_t n)
{
	switch (cast) {
	case WFS_CAST_BF16_F32:
		bf16_f32(dst, src, n);
		break;
	case WFS_CAST_F16_F32:
		f16_f32(dst, src, n);
		break;
	case WFS_CAST_F32_BF16:
		f32_bf16(dst, src, n);
		break;
	case WFS_CAST_F16_BF16:
		f16_bf16(dst, src, n);
		break;
	case WFS_CAST_F32_BF16_F32:
		f32_bf16_f32(dst, src, n);
		break;
	case WFS_CAST_F16_BF16_F32:
		f16_bf16_f32(dst, src, n);
		break;
	case WFS_CAST_I64_F32:
		i64_f32(dst, src, n);
		break;
	case WFS_CAST_I64_BF16:
		i64_bf16(dst, src, n);
		break;
	case WFS_CAST_I64_BF16_F32:
		i64_bf16_f32(dst, src, n);
		break;
	case WFS_CAST_NONE:
	case WFS_CAST_COUNT:
	default:
		memcpy(dst, src, n);
	}
}
