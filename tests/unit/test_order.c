/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a loader opens files is remembered.
 */
#include "tests/unit/t.h"

#include <string.h>

#include "core/base/text.h"
#include "fs/order.h"

static struct wfs_order *order_of(const uint32_t *at, uint32_t count,
				  uint32_t limit)
{
	uint32_t *first = wfs_malloc(count * sizeof(*first));

	memcpy(first, at, count * sizeof(*first));
	return wfs_order_new(first, count, limit);
}

static void expect(const struct wfs_order *o, const uint32_t *at,
		   uint32_t count)
{
	assert_int_equal(wfs_order_end(o, count), count);
	for (uint32_t p = 0; p < count; p++) {
		assert_int_equal(wfs_order_at(o, p), at[p]);
		assert_int_equal(wfs_order_position(o, at[p]), p);
	}
}

static void the_presumed_order_stands_until_something_is_known(void **state)
{
	const uint32_t at[] = { 2, 0, 3, 1 };
	struct wfs_order *o = order_of(at, 4, 4);

	(void)state;
	expect(o, at, 4);
	wfs_order_note(o, 3);
	wfs_order_note(o, 1);
	expect(o, at, 4);
	wfs_order_free(o);
}

static void a_whole_pass_becomes_the_order(void **state)
{
	const uint32_t at[] = { 0, 1, 2, 3 }, seen[] = { 3, 1, 0, 2 };
	struct wfs_order *o = order_of(at, 4, 4);

	(void)state;
	for (int i = 0; i < 4; i++)
		wfs_order_note(o, seen[i]);
	expect(o, seen, 4);
	wfs_order_free(o);
}

static void a_second_pass_adopts_the_first_and_keeps_the_rest(void **state)
{
	const uint32_t at[] = { 0, 1, 2, 3 }, want[] = { 2, 1, 0, 3 };
	struct wfs_order *o = order_of(at, 4, 4);

	(void)state;
	wfs_order_note(o, 2);
	wfs_order_note(o, 1);
	wfs_order_note(o, 1); /* opened twice in one pass */
	wfs_order_note(o, 2); /* the next loader begins */
	expect(o, want, 4);
	wfs_order_free(o);
}

static void a_pass_that_left_some_out_ends_where_it_ended(void **state)
{
	const uint32_t at[] = { 0, 1, 2, 3 };
	struct wfs_order *o = order_of(at, 4, 4);

	(void)state;
	assert_int_equal(wfs_order_end(o, 0), 4);
	wfs_order_note(o, 2);
	wfs_order_note(o, 1);
	wfs_order_note(o, 2);
	assert_int_equal(wfs_order_end(o, 0), 2);
	assert_int_equal(wfs_order_end(o, 1), 2);
	assert_int_equal(wfs_order_end(o, 2), 4);
	wfs_order_note(o, 0);
	wfs_order_note(o, 1);
	wfs_order_note(o, 3);
	assert_int_equal(wfs_order_end(o, 0), 4);
	wfs_order_free(o);
}

static void what_is_not_in_the_order_has_no_position(void **state)
{
	const uint32_t at[] = { 5, 2 };
	struct wfs_order *o = order_of(at, 2, 6);

	(void)state;
	expect(o, at, 2);
	assert_int_equal(wfs_order_position(o, 0), UINT32_MAX);
	assert_int_equal(wfs_order_position(o, 6), UINT32_MAX);
	wfs_order_note(o, 0);
	wfs_order_note(o, 1000);
	expect(o, at, 2);
	wfs_order_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_presumed_order_stands_until_something_is_known),
		T(a_whole_pass_becomes_the_order),
		T(a_second_pass_adopts_the_first_and_keeps_the_rest),
		T(a_pass_that_left_some_out_ends_where_it_ended),
		T(what_is_not_in_the_order_has_no_position),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
