/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose version a name has, of the places that have one.
 */
#include "tests/unit/t.h"

#include "tools/places.h"

static struct wfs_places *places_of(const char *prefer)
{
	struct wfs_prefer order;

	assert_int_equal(wfs_prefer_parse(prefer, &order), 0);
	return wfs_places_new(&order);
}

static void seeds_have_it_before_disks_and_origins(void **state)
{
	struct wfs_places *p = places_of("disk,origin,seed");

	(void)state;
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_ORIGIN));
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_DISK));
	assert_false(wfs_places_claim(p, "a", WFS_PLACE_ORIGIN));
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_SEED));
	assert_false(wfs_places_claim(p, "a", WFS_PLACE_DISK));
	assert_true(wfs_places_claim(p, "b", WFS_PLACE_DISK));
	wfs_places_free(p);
}

static void a_models_directory_keeps_what_it_has(void **state)
{
	struct wfs_places *p = places_of("seed");

	(void)state;
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_SEED));
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_FOUND));
	assert_false(wfs_places_claim(p, "a", WFS_PLACE_SEED));
	assert_false(wfs_places_leave(p, "a", WFS_PLACE_FOUND));
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_SEED));
	wfs_places_free(p);
}

static void the_order_decides_between_disk_and_origin(void **state)
{
	struct wfs_places *p = places_of("origin");

	(void)state;
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_DISK));
	assert_true(wfs_places_may(p, "a", WFS_PLACE_ORIGIN));
	/* To ask is not to have. */
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_DISK));
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_ORIGIN));
	assert_false(wfs_places_may(p, "a", WFS_PLACE_DISK));
	wfs_places_free(p);
}

static void a_name_goes_with_the_last_place(void **state)
{
	struct wfs_places *p = places_of("seed");

	(void)state;
	assert_true(wfs_places_leave(p, "a", WFS_PLACE_SEED));
	wfs_places_claim(p, "a", WFS_PLACE_SEED);
	wfs_places_claim(p, "a", WFS_PLACE_DISK);
	assert_false(wfs_places_leave(p, "a", WFS_PLACE_SEED));
	assert_true(wfs_places_claim(p, "a", WFS_PLACE_DISK));
	assert_true(wfs_places_leave(p, "a", WFS_PLACE_DISK));
	wfs_places_free(p);
}

static void without_places_a_name_is_whoevers(void **state)
{
	(void)state;
	assert_true(wfs_places_claim(NULL, "a", WFS_PLACE_ORIGIN));
	assert_true(wfs_places_claim(NULL, "a", WFS_PLACE_DISK));
	assert_true(wfs_places_leave(NULL, "a", WFS_PLACE_DISK));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(seeds_have_it_before_disks_and_origins),
		T(a_models_directory_keeps_what_it_has),
		T(the_order_decides_between_disk_and_origin),
		T(a_name_goes_with_the_last_place),
		T(without_places_a_name_is_whoevers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
