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

static void it_is_told_when_the_order_is_another(void **state)
{
	const uint32_t at[] = { 0, 1, 2 };
	struct wfs_order *o = order_of(at, 3, 3);

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		assert_false(wfs_order_note(o, 2));
		assert_false(wfs_order_note(o, 0));
		/* The second pass was as the first. */
		assert_int_equal(wfs_order_note(o, 1), pass == 0);
	}
	assert_false(wfs_order_note(o, 1));
	assert_false(wfs_order_note(o, 2));
	assert_true(wfs_order_note(o, 1)); /* all of it ended earlier */
	wfs_order_free(o);
}

static void a_first_pass_that_breaks_off_counts(void **state)
{
	const uint32_t at[] = { 0, 1, 2 }, want[] = { 2, 0, 1 };
	struct wfs_order *o = order_of(at, 3, 3);

	(void)state;
	assert_false(wfs_order_finish(o));
	wfs_order_note(o, 2);
	assert_false(wfs_order_finish(o)); /* one open is no order */
	wfs_order_note(o, 0);
	assert_true(wfs_order_finish(o));
	expect(o, want, 3);
	wfs_order_note(o, 1);
	wfs_order_note(o, 2);
	assert_false(wfs_order_finish(o)); /* it is not the first */
	expect(o, want, 3);
	wfs_order_free(o);
}

static void an_order_goes_on_as_it_was_taken_down(void **state)
{
	const uint32_t at[] = { 3, 1, 0 }, want[] = { 0, 3, 1 };
	struct wfs_order *o = order_of(at, 3, 4), *next = order_of(at, 3, 4);
	struct wfs_passed *passed;

	(void)state;
	wfs_order_note(o, 0);
	wfs_order_note(o, 3);
	assert_true(wfs_order_finish(o));
	passed = wfs_order_passed(o);
	assert_true(wfs_order_resume(next, passed));
	expect(next, want, 3);
	assert_int_equal(wfs_order_end(next, 0), 2);
	free(passed);
	wfs_order_free(o);
	wfs_order_free(next);
}

static void what_is_no_order_of_the_same_files_is_refused(void **state)
{
	const uint32_t at[] = { 3, 1, 0 };
	const uint32_t wrong[][3] = {
		{ 3, 1, 2 },	      /* one that is not in it */
		{ 3, 3, 0 },	      /* one twice */
		{ 3, 1, UINT32_MAX }, /* one that cannot be */
	};
	struct wfs_order *o = order_of(at, 3, 4);
	struct wfs_passed *passed = wfs_order_passed(o);

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		memcpy(passed->at, wrong[i], sizeof(wrong[i]));
		assert_false(wfs_order_resume(o, passed));
	}
	memcpy(passed->at, at, sizeof(at));
	passed->count = 2;
	assert_false(wfs_order_resume(o, passed));
	passed->count = 3;
	passed->passed = 4;
	assert_false(wfs_order_resume(o, passed));
	expect(o, at, 3);
	free(passed);
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
		T(it_is_told_when_the_order_is_another),
		T(a_first_pass_that_breaks_off_counts),
		T(an_order_goes_on_as_it_was_taken_down),
		T(what_is_no_order_of_the_same_files_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
