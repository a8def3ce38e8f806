/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types: every name that the format has, and the product of a shape.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/model/dtype.h"

static const struct {
	const char *name;
	unsigned bits;
} known[] = {
	{ "BOOL", 8 },	      { "F4", 4 },	{ "F6_E2M3", 6 },
	{ "F6_E3M2", 6 },     { "U8", 8 },	{ "I8", 8 },
	{ "F8_E5M2", 8 },     { "F8_E4M3", 8 }, { "F8_E8M0", 8 },
	{ "I16", 16 },	      { "U16", 16 },	{ "F16", 16 },
	{ "BF16", 16 },	      { "I32", 32 },	{ "U32", 32 },
	{ "F32", 32 },	      { "F64", 64 },	{ "I64", 64 },
	{ "U64", 64 },	      { "C64", 64 },	{ "F8_E5M2FNUZ", 8 },
	{ "F8_E4M3FNUZ", 8 },
};

#define KNOWN (sizeof(known) / sizeof(*known))

static void every_dtype_of_the_format_is_known(void **state)
{
	(void)state;
	assert_int_equal(KNOWN, WFS_DTYPE_COUNT);
	for (size_t i = 0; i < KNOWN; i++) {
		int dtype =
			wfs_dtype_parse(known[i].name, strlen(known[i].name));

		assert_true(dtype >= 0);
		assert_string_equal(wfs_dtype_name((enum wfs_dtype)dtype),
				    known[i].name);
		assert_int_equal(wfs_dtype_bits((enum wfs_dtype)dtype),
				 known[i].bits);
	}
}

static void a_dtype_is_its_whole_name(void **state)
{
	static const char *const bad[] = { "",	  "F",	  "F3",	  "F321",
					   "f32", " F32", "F32 ", "BF" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wfs_dtype_parse(bad[i], strlen(bad[i])),
				 -EINVAL);
	assert_int_equal(wfs_dtype_parse("F32\0", 4), -EINVAL);
	assert_int_equal(wfs_dtype_parse("F32junk", 3), WFS_F32);
}

static uint64_t bytes(enum wfs_dtype dtype, uint64_t a, uint64_t b)
{
	uint64_t shape[2] = { a, b }, size = 0;

	assert_int_equal(wfs_dtype_bytes(dtype, shape, 2, &size), 0);
	return size;
}

static void bytes_are_the_product_of_shape_and_width(void **state)
{
	uint64_t size = 0;

	(void)state;
	assert_int_equal(bytes(WFS_BF16, 3, 5), 30);
	assert_int_equal(bytes(WFS_C64, 3, 5), 120);
	assert_int_equal(bytes(WFS_F4, 3, 6), 9);
	assert_int_equal(bytes(WFS_F6_E2M3, 4, 5), 15);
	assert_int_equal(bytes(WFS_U8, 0, 7), 0);
	assert_int_equal(wfs_dtype_bytes(WFS_F32, NULL, 0, &size), 0);
	assert_int_equal(size, 4);
}

static void elements_must_fill_whole_bytes(void **state)
{
	uint64_t odd[1] = { 3 }, size = 77;

	(void)state;
	assert_int_equal(wfs_dtype_bytes(WFS_F4, odd, 1, &size), -EINVAL);
	assert_int_equal(wfs_dtype_bytes(WFS_F6_E3M2, odd, 1, &size), -EINVAL);
	assert_int_equal(wfs_dtype_bytes(WFS_F4, NULL, 0, &size), -EINVAL);
	assert_int_equal(size, 77);
}

static void products_that_leave_64_bits_are_refused(void **state)
{
	uint64_t high = 1ull << 63, size = 77;
	uint64_t late_zero[3] = { high, 4, 0 }, early_zero[3] = { 0, high, 4 };
	uint64_t width[1] = { 1ull << 61 };

	(void)state;
	assert_int_equal(wfs_dtype_bytes(WFS_U8, late_zero, 3, &size),
			 -EOVERFLOW);
	assert_int_equal(wfs_dtype_bytes(WFS_F64, width, 1, &size), -EOVERFLOW);
	assert_int_equal(size, 77);
	/* As in the reference, a zero ends the growth. */
	assert_int_equal(wfs_dtype_bytes(WFS_U8, early_zero, 3, &size), 0);
	assert_int_equal(size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_dtype_of_the_format_is_known),
		T(a_dtype_is_its_whole_name),
		T(bytes_are_the_product_of_shape_and_width),
		T(elements_must_fill_whole_bytes),
		T(products_that_leave_64_bits_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
