/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first look of a watch: what is enough to mount, and what is told.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/watch_world.h"

static void nothing_left_to_mount_is_an_error(void **state)
{
	struct world *w = *state;
	struct wfs_err err = { 0 };

	world_name(w, "a", "nowhere");
	assert_int_equal(-ENOENT, world_watch(w, false, &err));
	assert_non_null(strstr(err.text, "nothing is left to serve"));
	assert_int_equal(1, w->complaints);
	assert_non_null(strstr(w->complaint, "'a'"));
}

static void an_empty_models_directory_is_enough(void **state)
{
	assert_int_equal(0, world_watch(*state, true, NULL));
}

static void a_missing_models_directory_is_told_and_not_enough(void **state)
{
	struct world *w = *state;

	assert_int_equal(0, rmdir(w->models_dir));
	assert_int_equal(-ENOENT, world_watch(w, true, NULL));
	assert_non_null(strstr(w->complaint, w->models_dir));
}

static void one_good_checkpoint_is_enough(void **state)
{
	struct world *w = *state;

	world_put_model(w, "out/good", 10);
	world_name(w, "bad", "nowhere");
	world_name(w, "good", "out/good");
	assert_int_equal(0, rmdir(w->models_dir));
	assert_int_equal(0, world_watch(w, true, NULL));
	assert_int_equal(10, world_served(w, "good"));
	assert_int_equal(2, w->complaints);
}

static void
a_missing_checkpoint_is_told_once_and_served_once_there(void **state)
{
	struct world *w = *state;

	world_name(w, "a", "out/a");
	assert_int_equal(0, world_watch(w, true, NULL));
	world_look(w, 6);
	assert_int_equal(1, w->complaints);
	assert_int_equal(1, world_count_events(w, "error"));
	world_put_model(w, "out/a", 10);
	world_look(w, 2);
	assert_int_equal(10, world_served(w, "a"));
}

static void a_checkpoint_named_by_hand_goes_before_the_directorys(void **state)
{
	struct world *w = *state;

	world_put_model(w, "models/a", 10);
	world_put_model(w, "out/a", 20);
	world_name(w, "a", "out/a");
	assert_int_equal(0, world_watch(w, true, NULL));
	world_look(w, 3);
	assert_int_equal(20, world_served(w, "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TW(nothing_left_to_mount_is_an_error),
		TW(an_empty_models_directory_is_enough),
		TW(a_missing_models_directory_is_told_and_not_enough),
		TW(one_good_checkpoint_is_enough),
		TW(a_missing_checkpoint_is_told_once_and_served_once_there),
		TW(a_checkpoint_named_by_hand_goes_before_the_directorys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
