/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Casts of every value there is, or of many, against arithmetic that takes
 * its time; in long runs, which are vector code, and one by one.
 */
#include "tests/unit/t.h"

#include <math.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/cast.h"
#include "tests/unit/chance.h"

#define MANY 65536u

static uint32_t bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static float value_of(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* As IEEE 754 says it of 16 bits; a NaN keeps its payload. */
static uint32_t slow_from_f16(uint16_t h)
{
	int exponent = h >> 10 & 31, mantissa = h & 1023;
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;

	if (exponent == 31)
		return sign | 0x7f800000 | (uint32_t)mantissa << 13;
	if (exponent == 0)
		return sign | bits_of((float)ldexp(mantissa, -24));
	return sign | bits_of((float)ldexp(1024 + mantissa, exponent - 25));
}

/* The nearer of the two BF16 around it, the even one of two as near. */
static uint16_t slow_to_bf16(uint32_t f)
{
	uint32_t below = f & 0xffff0000, above = below + 0x10000;
	double x = value_of(f), low = value_of(below), high;

	if (isnan(x))
		return (uint16_t)((f >> 16 & 0x7f ? f : f | 0x400000) >> 16);
	if (isinf(x))
		return (uint16_t)(f >> 16);
	/* What lies behind the largest is as far as if it went on. */
	high = (above & 0x7f800000) == 0x7f800000 ? copysign(ldexp(1, 128), x) :
						    value_of(above);
	if (fabs(x - low) != fabs(high - x))
		return (uint16_t)((fabs(x - low) < fabs(high - x) ? below :
								    above) >>
				  16);
	return (uint16_t)((below & 0x10000 ? above : below) >> 16);
}

/* A run of `n` is what its elements are one by one. */
static void runs_are_as_their_elements(enum wfs_cast cast, const char *in,
				       size_t n)
{
	unsigned from = wfs_cast_from(cast), to = wfs_cast_to(cast);
	char *run wfs_autofree = wfs_malloc(n * to + 1);
	char one[8];

	run[n * to] = 0x5a;
	wfs_cast_run(cast, run, in, n);
	for (size_t i = 0; i < n; i++) {
		wfs_cast_run(cast, one, in + i * from, 1);
		if (memcmp(one, run + i * to, to))
			fail_msg("cast %d: element %zu of %zu", (int)cast, i,
				 n);
	}
	assert_int_equal(run[n * to], 0x5a);
}

static void every_f16_is_cast_right(void **state)
{
	uint16_t *in wfs_autofree = wfs_malloc(MANY * sizeof(*in));
	uint32_t *wide wfs_autofree = wfs_malloc(MANY * sizeof(*wide));
	uint16_t *narrow wfs_autofree = wfs_malloc(MANY * sizeof(*narrow));

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		in[i] = (uint16_t)i;
	wfs_cast_run(WFS_CAST_F16_F32, wide, in, MANY);
	wfs_cast_run(WFS_CAST_F16_BF16, narrow, in, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t f = slow_from_f16((uint16_t)i);

		assert_int_equal(wide[i], f);
		assert_int_equal(narrow[i], slow_to_bf16(f));
	}
	wfs_cast_run(WFS_CAST_F16_BF16_F32, wide, in, MANY);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(wide[i], (uint32_t)narrow[i] << 16);
}

static void f32_is_rounded_to_the_nearest_even(void **state)
{
	static const uint32_t edges[] = {
		0,	    0x80000000, 0x7f800000, 0xff800000, 0x7f800001,
		0xff80ffff, 0x7fffffff, 0x7f7fffff, 0x7f7f8000, 0x7f7f7fff,
		0x3f808000, 0x3f818000, 0x3f808001, 0x00000001, 0x00008000,
		0x00018000, 0x007fffff, 0xbf7f8000,
	};
	uint32_t *in wfs_autofree = wfs_malloc(MANY * sizeof(*in));
	uint16_t *out wfs_autofree = wfs_malloc(MANY * sizeof(*out));
	uint32_t *back wfs_autofree = wfs_malloc(MANY * sizeof(*back));
	struct chance chance = chance_new();

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		in[i] = (uint32_t)chance_next(&chance);
	memcpy(in, edges, sizeof(edges));
	wfs_cast_run(WFS_CAST_F32_BF16, out, in, MANY);
	wfs_cast_run(WFS_CAST_F32_BF16_F32, back, in, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		if (out[i] != slow_to_bf16(in[i]))
			fail_msg("%08x became %04x, not %04x", in[i], out[i],
				 slow_to_bf16(in[i]));
		assert_int_equal(back[i], (uint32_t)out[i] << 16);
	}
}

static void a_run_of_any_length_is_as_its_elements(void **state)
{
	struct chance chance = chance_new();
	char *in wfs_autofree = wfs_malloc(8ul * 2000);

	(void)state;
	for (size_t i = 0; i < 8ul * 2000; i++)
		in[i] = (char)chance_next(&chance);
	for (int cast = 1; cast < WFS_CAST_COUNT; cast++)
		for (unsigned i = 0; i < 20; i++)
			runs_are_as_their_elements((enum wfs_cast)cast,
						   in + chance_below(&chance,
								     9),
						   chance_below(&chance, 1990));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_f16_is_cast_right),
		T(f32_is_rounded_to_the_nearest_even),
		T(a_run_of_any_length_is_as_its_elements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
