/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over real directories: what appears, changes, breaks and goes,
 * and what the registry then serves.
 */
#include "tests/unit/t.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/watch_world.h"

#define S	 1000000000ull
#define DEADLINE (60 * S)

static void the_first_look_loads_all_at_once(void **state)
{
	struct world *w = *state;
	char name[32];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "models/m%d", i);
		world_put_model(w, name, 100 + (unsigned)i);
	}
	assert_int_equal(0, world_watch(w, true, NULL));
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		assert_int_equal(100 + i, world_served(w, name));
	}
	assert_int_equal(0, w->complaints);
}

static void a_new_checkpoint_is_served_after_two_looks_that_agree(void **state)
{
	struct world *w = *state;

	assert_int_equal(0, world_watch(w, true, NULL));
	world_put_model(w, "models/a", 10);
	world_look(w, 1);
	assert_int_equal(-1, world_served(w, "a"));
	world_look(w, 1);
	assert_int_equal(10, world_served(w, "a"));
}

static void a_checkpoint_that_still_grows_is_left_alone(void **state)
{
	struct world *w = *state;
	char *extra wfs_autofree = wfs_asprintf("%s/models/a/notes", w->dir);

	assert_int_equal(0, world_watch(w, true, NULL));
	world_put_model(w, "models/a", 10);
	for (int i = 0; i < 5; i++) {
		world_put_file(extra, "x", 1, O_APPEND);
		world_look(w, 1);
		assert_int_equal(-1, world_served(w, "a"));
	}
	world_look(w, 1);
	assert_int_equal(10, world_served(w, "a"));
}

static void a_bad_checkpoint_is_told_once_and_the_others_served(void **state)
{
	struct world *w = *state;
	char *bad wfs_autofree =
		wfs_asprintf("%s/models/b/model.safetensors", w->dir);

	world_put_model(w, "models/a", 10);
	world_put_model(w, "models/b", 10);
	assert_int_equal(0, truncate(bad, 12));
	assert_int_equal(0, world_watch(w, true, NULL));
	world_look(w, 5);
	assert_int_equal(10, world_served(w, "a"));
	assert_int_equal(-1, world_served(w, "b"));
	assert_int_equal(1, w->complaints);
	assert_non_null(strstr(w->complaint, "'b'"));
	assert_non_null(strstr(w->complaint, "model.safetensors"));
	assert_int_equal(1, world_count_events(w, "error"));

	world_put_shard(w, "models/b/model.safetensors", 30);
	world_look(w, 2);
	assert_int_equal(30, world_served(w, "b"));
	assert_int_equal(1, world_count_events(w, "error"));
}

static void a_checkpoint_that_breaks_leaves_the_old_one_served(void **state)
{
	struct world *w = *state;
	char *bad wfs_autofree = wfs_asprintf("%s/out/bad", w->dir);

	world_put_model(w, "models/a", 10);
	assert_int_equal(0, world_watch(w, true, NULL));
	world_put_file(bad, "nonsense", 8, 0);
	world_move(w, "out/bad", "models/a/model.safetensors");
	world_look(w, 4);
	assert_int_equal(10, world_served(w, "a"));
	assert_int_equal(1, world_count_events(w, "error"));
	assert_int_equal(0, w->complaints);
}

static void a_checkpoint_replaced_by_rename_takes_over(void **state)
{
	struct world *w = *state;

	world_put_model(w, "models/a", 10);
	world_put_model(w, "out/a", 20);
	assert_int_equal(0, world_watch(w, true, NULL));
	world_move(w, "models/a", "out/old");
	world_move(w, "out/a", "models/a");
	world_look(w, 1);
	assert_int_equal(10, world_served(w, "a"));
	world_look(w, 1);
	assert_int_equal(20, world_served(w, "a"));
	assert_int_equal(1, world_count_events(w, "switch"));
}

static void a_rewrite_in_place_is_noted_and_read_again(void **state)
{
	struct world *w = *state;
	char *path wfs_autofree =
		wfs_asprintf("%s/models/a/model.safetensors", w->dir);
	char *other wfs_autofree = wfs_asprintf("%s/out/other", w->dir);
	struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	char *text wfs_autofree = NULL;
	uint32_t slot, new_slot;
	size_t len;

	world_put_model(w, "models/a", 10);
	world_put_shard(w, "out/other", 15);
	assert_int_equal(0, wfs_file_slurp(other, 4096, &text, &len));
	assert_int_equal(0, utimensat(AT_FDCWD, path, old, 0));
	/* Somebody reads: unless it is stale the name moves in an hour. */
	wfs_registry_free(w->registry);
	w->registry = wfs_registry_new(3600 * S);
	assert_int_equal(0, world_watch(w, true, NULL));
	wfs_model_put(wfs_registry_by_name(w->registry, "a", &slot));
	wfs_registry_note_open(w->registry, slot, 1);

	world_put_file(path, text, len, 0);
	world_look(w, 1);
	assert_int_equal(1, world_count_events(w, "stale"));
	assert_int_equal(10, world_served(w, "a"));
	world_look(w, 2);
	assert_int_equal(15, world_served(w, "a"));
	wfs_model_put(wfs_registry_by_name(w->registry, "a", &new_slot));
	assert_int_not_equal(slot, new_slot);
	world_look(w, 3);
	assert_int_equal(1, world_count_events(w, "stale"));
	wfs_registry_note_open(w->registry, slot, -1);
}

static void a_checkpoint_missing_for_one_look_stays(void **state)
{
	struct world *w = *state;

	world_put_model(w, "models/a", 10);
	assert_int_equal(0, world_watch(w, true, NULL));
	world_move(w, "models/a", "out/a");
	world_look(w, 1);
	assert_int_equal(10, world_served(w, "a"));
	world_move(w, "out/a", "models/a");
	world_look(w, 3);
	assert_int_equal(10, world_served(w, "a"));
	assert_int_equal(0, world_count_events(w, "gone"));
}

static void a_checkpoint_that_went_is_withdrawn_and_may_come_back(void **state)
{
	struct world *w = *state;

	world_put_model(w, "models/a", 10);
	assert_int_equal(0, world_watch(w, true, NULL));
	world_move(w, "models/a", "out/a");
	world_look(w, 2);
	assert_int_equal(-1, world_served(w, "a"));
	assert_int_equal(1, world_count_events(w, "gone"));
	assert_int_equal(0, world_count_events(w, "error"));
	world_move(w, "out/a", "models/a");
	world_look(w, 2);
	assert_int_equal(10, world_served(w, "a"));
}

static void a_models_directory_that_goes_takes_its_models_along(void **state)
{
	struct world *w = *state;

	world_put_model(w, "models/a", 10);
	assert_int_equal(0, world_watch(w, true, NULL));
	world_move(w, "models", "elsewhere");
	world_look(w, 4);
	assert_int_equal(-1, world_served(w, "a"));
	assert_int_equal(1, world_count_events(w, "error"));
	world_move(w, "elsewhere", "models");
	world_look(w, 2);
	assert_int_equal(10, world_served(w, "a"));
}

static void the_thread_sees_what_comes_and_stops_when_told(void **state)
{
	struct world *w = *state;
	uint64_t deadline = wfs_now_ns() + DEADLINE;

	assert_int_equal(0, world_watch(w, true, NULL));
	assert_int_equal(0, wfs_watch_start(w->watch));
	world_put_model(w, "models/a", 10);
	while (world_served(w, "a") < 0 && wfs_now_ns() < deadline)
		usleep(1000);
	wfs_watch_stop(w->watch);
	assert_int_equal(10, world_served(w, "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TW(the_first_look_loads_all_at_once),
		TW(a_new_checkpoint_is_served_after_two_looks_that_agree),
		TW(a_checkpoint_that_still_grows_is_left_alone),
		TW(a_bad_checkpoint_is_told_once_and_the_others_served),
		TW(a_checkpoint_that_breaks_leaves_the_old_one_served),
		TW(a_checkpoint_replaced_by_rename_takes_over),
		TW(a_rewrite_in_place_is_noted_and_read_again),
		TW(a_checkpoint_missing_for_one_look_stays),
		TW(a_checkpoint_that_went_is_withdrawn_and_may_come_back),
		TW(a_models_directory_that_goes_takes_its_models_along),
		TW(the_thread_sees_what_comes_and_stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
