/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merge sort of names, against qsort.
 */
#include "tests/unit/t.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/keys.h"
#include "core/base/text.h"
#include "tests/unit/chance.h"

#define ROUNDS 400
#define MANY   300

static void a_prefix_comes_first_and_bytes_are_unsigned(void **state)
{
	struct wfs_key empty = { "", 0, 0 }, a = { "a", 1, 0 };
	struct wfs_key a_nul = { "a\0", 2, 0 }, high = { "\xff", 1, 0 };

	(void)state;
	assert_true(wfs_key_compare(&empty, &a) < 0);
	assert_true(wfs_key_compare(&a, &a_nul) < 0);
	assert_true(wfs_key_compare(&a_nul, &high) < 0);
	assert_true(wfs_key_compare(&high, &a) > 0);
	assert_int_equal(wfs_key_compare(&a, &a), 0);
}

static void nothing_and_one_are_sorted(void **state)
{
	struct wfs_key one = { "x", 1, 3 };

	(void)state;
	wfs_keys_sort(NULL, 0);
	wfs_keys_sort(&one, 1);
	assert_int_equal(one.tag, 3);
	assert_int_equal(wfs_keys_repeated(NULL, 0), 0);
	assert_int_equal(wfs_keys_repeated(&one, 1), 0);
}

/* Keys in order, equal ones in the order that they came in. */
static int by_key_and_tag(const void *a, const void *b)
{
	const struct wfs_key *x = a, *y = b;
	int order = wfs_key_compare(x, y);

	return order ? order : x->tag < y->tag ? -1 : x->tag > y->tag;
}

static void sorts_as_qsort_does_and_keeps_equal_ones_in_order(void **state)
{
	static const char text[] = "abababbbaaabbaabab";
	struct chance chance = chance_new();
	struct wfs_key keys[MANY], want[MANY];

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		size_t count = chance_below(&chance, MANY);
		size_t runs = 1 + chance_below(&chance, 8), first = 0;

		for (size_t i = 0; i < count; i++) {
			keys[i].s = text + chance_below(&chance, 12);
			keys[i].len = (uint32_t)chance_below(&chance, 6);
			keys[i].tag = (uint32_t)i;
			want[i] = keys[i];
		}
		qsort(want, count, sizeof(*want), by_key_and_tag);
		/* Also what is sorted in some runs already. */
		for (size_t r = 0; round % 2 && r < runs; r++) {
			size_t end = count * (r + 1) / runs;

			qsort(keys + first, end - first, sizeof(*keys),
			      by_key_and_tag);
			first = end;
		}
		wfs_keys_sort(keys, count);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(wfs_key_compare(&keys[i], &want[i]),
					 0);
		if (!(round % 2))
			for (size_t i = 0; i < count; i++)
				assert_int_equal(keys[i].tag, want[i].tag);
	}
}

static void the_first_repeated_key_is_found(void **state)
{
	struct wfs_key keys[4] = {
		{ "a", 1, 0 }, { "b", 1, 1 }, { "c", 1, 2 }, { "d", 1, 3 }
	};

	(void)state;
	assert_int_equal(wfs_keys_repeated(keys, 4), 0);
	keys[3].s = "c";
	assert_int_equal(wfs_keys_repeated(keys, 4), 3);
	keys[1].s = "a";
	assert_int_equal(wfs_keys_repeated(keys, 4), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_prefix_comes_first_and_bytes_are_unsigned),
		T(nothing_and_one_are_sorted),
		T(sorts_as_qsort_does_and_keeps_equal_ones_in_order),
		T(the_first_repeated_key_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
