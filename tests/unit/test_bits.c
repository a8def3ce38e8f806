/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of small numbers.
 */
#include "tests/unit/t.h"

#include "core/base/bits.h"

static void an_empty_set_has_nothing(void **state)
{
	struct wfs_bits bits = { 0 };

	(void)state;
	assert_false(wfs_bits_any(&bits));
	assert_false(wfs_bits_has(&bits, 0));
	assert_false(wfs_bits_has(&bits, SIZE_MAX));
	wfs_bits_clear(&bits);
}

static void what_was_added_is_there_and_nothing_else(void **state)
{
	static const size_t numbers[] = { 63, 64, 0, 1000, 64 };
	struct wfs_bits bits = { 0 };
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		wfs_bits_add(&bits, numbers[i]);
	assert_true(wfs_bits_any(&bits));
	for (size_t i = 0; i < 2000; i++)
		n += wfs_bits_has(&bits, i);
	assert_int_equal(n, 4);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		assert_true(wfs_bits_has(&bits, numbers[i]));
	wfs_bits_clear(&bits);
	assert_false(wfs_bits_any(&bits));
	assert_false(wfs_bits_has(&bits, 63));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_empty_set_has_nothing),
		T(what_was_added_is_there_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
