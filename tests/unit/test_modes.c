/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node a look-up answers with, and which mode an open must have.
 */
#include "tests/unit/t.h"

#include "fs/ino.h"
#include "fs/modes.h"

#define INO 0x1234560007ull

static int setup(void **state)
{
	*state = wfs_modes_new();
	return 0;
}

static int teardown(void **state)
{
	wfs_modes_free(*state);
	return 0;
}

static uint64_t variant(uint32_t v)
{
	return wfs_ino_with_variant(INO, v);
}

static void a_node_keeps_the_mode_of_its_first_open(void **state)
{
	bool first;

	assert_int_equal(wfs_modes_of(*state, INO), WFS_MODE_NONE);
	assert_int_equal(wfs_modes_enter(*state, INO, WFS_MODE_CACHED, &first),
			 WFS_MODE_CACHED);
	assert_true(first);
	assert_int_equal(wfs_modes_enter(*state, INO, WFS_MODE_PASSTHROUGH,
					 &first),
			 WFS_MODE_CACHED);
	assert_false(first);
	wfs_modes_leave(*state, INO);
	assert_int_equal(wfs_modes_of(*state, INO), WFS_MODE_CACHED);
	wfs_modes_leave(*state, INO);
	assert_int_equal(wfs_modes_of(*state, INO), WFS_MODE_NONE);
	assert_int_equal(wfs_modes_enter(*state, INO, WFS_MODE_PASSTHROUGH,
					 &first),
			 WFS_MODE_PASSTHROUGH);
	assert_true(first);
	assert_int_equal(wfs_modes_enter(*state, INO, WFS_MODE_CACHED, &first),
			 WFS_MODE_PASSTHROUGH);
}

static void variants_of_one_file_have_modes_of_their_own(void **state)
{
	bool first;

	wfs_modes_enter(*state, variant(0), WFS_MODE_CACHED, &first);
	assert_int_equal(wfs_modes_enter(*state, variant(1),
					 WFS_MODE_PASSTHROUGH, &first),
			 WFS_MODE_PASSTHROUGH);
	assert_true(first);
	assert_int_equal(wfs_modes_of(*state, variant(0)), WFS_MODE_CACHED);
	assert_int_equal(wfs_modes_of(*state, variant(1)),
			 WFS_MODE_PASSTHROUGH);
}

static void a_look_up_avoids_nodes_that_a_cached_open_holds(void **state)
{
	bool first, cacheable;

	assert_int_equal(wfs_modes_pick(*state, INO, true, &cacheable), 0);
	assert_true(cacheable);
	wfs_modes_enter(*state, variant(0), WFS_MODE_CACHED, &first);
	assert_int_equal(wfs_modes_pick(*state, INO, true, &cacheable), 1);
	assert_false(cacheable);
	wfs_modes_enter(*state, variant(1), WFS_MODE_PASSTHROUGH, &first);
	assert_int_equal(wfs_modes_pick(*state, INO, true, &cacheable), 1);
	wfs_modes_leave(*state, variant(0));
	assert_int_equal(wfs_modes_pick(*state, INO, true, &cacheable), 0);
	assert_true(cacheable);
}

static void a_file_that_is_not_resident_gets_two_nodes_at_most(void **state)
{
	bool first, cacheable;

	for (uint32_t v = 0; v < 2; v++)
		wfs_modes_enter(*state, variant(v), WFS_MODE_CACHED, &first);
	assert_int_equal(wfs_modes_pick(*state, INO, false, &cacheable), 1);
	assert_int_equal(wfs_modes_pick(*state, INO, true, &cacheable), 2);
}

static void when_all_variants_are_cached_the_last_is_used(void **state)
{
	bool first, cacheable;

	for (uint32_t v = 0; v < WFS_VARIANTS; v++)
		wfs_modes_enter(*state, variant(v), WFS_MODE_CACHED, &first);
	assert_int_equal(wfs_modes_pick(*state, INO, true, &cacheable),
			 WFS_VARIANTS - 1);
}

static void opens_are_counted_by_mode(void **state)
{
	uint64_t cached, passthrough;
	bool first;

	wfs_modes_enter(*state, INO, WFS_MODE_CACHED, &first);
	wfs_modes_enter(*state, INO, WFS_MODE_CACHED, &first);
	wfs_modes_enter(*state, INO + 1, WFS_MODE_PASSTHROUGH, &first);
	wfs_modes_count(*state, &cached, &passthrough);
	assert_int_equal(cached, 2);
	assert_int_equal(passthrough, 1);
	wfs_modes_leave(*state, INO);
	wfs_modes_leave(*state, INO);
	wfs_modes_leave(*state, INO); /* one too many, after a restart */
	wfs_modes_leave(*state, INO + 1);
	wfs_modes_count(*state, &cached, &passthrough);
	assert_int_equal(cached, 0);
	assert_int_equal(passthrough, 0);
}

static void ids_carry_their_fields(void **state)
{
	uint64_t ino = wfs_ino_make(0xabcdef, WFS_KIND_TENSOR, 4095, 0x3fffff);
	uint64_t id = wfs_ino_with_variant(ino, 7);

	(void)state;
	assert_int_equal(wfs_ino_slot(id), 0xabcdef);
	assert_int_equal(wfs_ino_variant(id), 7);
	assert_int_equal(wfs_ino_stable(id), ino);
	assert_int_equal(wfs_ino_field(id, WFS_KIND_SHIFT, WFS_KIND_BITS),
			 WFS_KIND_TENSOR);
	assert_int_equal(wfs_ino_field(id, WFS_RANK_SHIFT, WFS_RANK_BITS),
			 4095);
	assert_int_equal(wfs_ino_field(id, 0, WFS_INDEX_BITS), 0x3fffff);
	assert_true((ino & WFS_INO_SLOT_MASK) ==
		    wfs_ino_make(0xabcdef, 0, 0, 0));
	assert_int_equal(wfs_ino_make(0, 0, 0, WFS_CONTROL_ROOT), 1);
}

#define TM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TM(a_node_keeps_the_mode_of_its_first_open),
		TM(variants_of_one_file_have_modes_of_their_own),
		TM(a_look_up_avoids_nodes_that_a_cached_open_holds),
		TM(a_file_that_is_not_resident_gets_two_nodes_at_most),
		TM(when_all_variants_are_cached_the_last_is_used),
		TM(opens_are_counted_by_mode),
		T(ids_carry_their_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
