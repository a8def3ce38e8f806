/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hexadecimal digits.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/hex.h"

static void what_is_written_can_be_read(void **state)
{
	uint8_t bytes[256], back[256];
	char text[513];

	(void)state;
	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	wfs_hex_format(bytes, sizeof(bytes), text);
	assert_int_equal(strlen(text), 512);
	assert_int_equal(strncmp(text, "000102030405060708090a0b", 24), 0);
	assert_int_equal(wfs_hex_parse(text, 512, back, sizeof(back)), 0);
	assert_memory_equal(bytes, back, sizeof(bytes));
}

static void capitals_are_digits_too(void **state)
{
	uint8_t back[2];

	(void)state;
	assert_int_equal(wfs_hex_parse("AbFF", 4, back, 2), 0);
	assert_int_equal(back[0], 0xab);
	assert_int_equal(back[1], 0xff);
}

static void anything_else_is_refused_and_leaves_no_trace(void **state)
{
	static const char *const bad[] = { "",	    "0",    "000",
					   "00000", "00 0", "0x00",
					   "-100",  "00g0", "000\xff" };
	uint8_t back[2] = { 7, 7 };

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wfs_hex_parse(bad[i], strlen(bad[i]), back, 2),
				 -EINVAL);
	assert_int_equal(back[0], 7);
	assert_int_equal(back[1], 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_written_can_be_read),
		T(capitals_are_digits_too),
		T(anything_else_is_refused_and_leaves_no_trace),
	};

	return cmocka_run_group_tests_name("hex", tests, NULL, NULL);
}
