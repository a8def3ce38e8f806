/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over real directories: what appears, changes, breaks and goes,
 * and what the registry then serves.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/events.h"
#include "core/base/text.h"
#include "core/model/registry.h"
#include "tools/watch.h"

#define S	 1000000000ull
#define DEADLINE (60 * S)

struct world {
	char dir[64]; /* private; "models" and "out" lie in it */
	char *models_dir;
	struct wfs_registry *registry;
	struct wfs_option_model by_hand[2];
	struct wfs_watch *watch;
	unsigned complaints;
	char complaint[2048]; /* the last one */
	uint64_t events;      /* position at the start */
};

static void take_complaint(void *ctx, const char *text)
{
	struct world *w = ctx;

	w->complaints++;
	snprintf(w->complaint, sizeof(w->complaint), "%s", text);
}

static int make(void **state)
{
	struct world *w = wfs_calloc(1, sizeof(*w));
	char *out wfs_autofree = NULL;
	uint64_t oldest;

	strcpy(w->dir, "/tmp/weightfs-watch-XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	w->models_dir = wfs_asprintf("%s/models", w->dir);
	out = wfs_asprintf("%s/out", w->dir);
	if (mkdir(w->models_dir, 0755) || mkdir(out, 0755))
		return -1;
	w->registry = wfs_registry_new(0);
	wfs_events_span(&oldest, &w->events);
	*state = w;
	return 0;
}

static int drop(void **state)
{
	struct world *w = *state;
	char *command wfs_autofree = wfs_asprintf("rm -rf '%s'", w->dir);

	wfs_watch_free(w->watch);
	wfs_registry_free(w->registry);
	for (unsigned i = 0; i < 2; i++) {
		free(w->by_hand[i].name);
		free(w->by_hand[i].dir);
	}
	free(w->models_dir);
	/* NOLINTNEXTLINE(cert-env33-c): our own path, in quotes */
	if (system(command))
		fprintf(stderr, "cannot remove '%s'\n", w->dir);
	free(w);
	return 0;
}

#define TW(name) cmocka_unit_test_setup_teardown(name, make, drop)

/* Starts a watch over the models directory and what is named by hand. */
static int watch(struct world *w, bool dir, struct wfs_err *err)
{
	struct wfs_watch_config config = {
		.registry = w->registry,
		.models_dir = dir ? w->models_dir : NULL,
		.models = w->by_hand,
		.rescan_ns = S / 100,
		.complain = take_complaint,
		.ctx = w,
	};

	while (config.model_count < 2 && w->by_hand[config.model_count].name)
		config.model_count++;
	w->watch = wfs_watch_new(&config);
	return wfs_watch_first(w->watch, err);
}

static void name_by_hand(struct world *w, const char *name, const char *path)
{
	unsigned i = w->by_hand[0].name ? 1 : 0;

	w->by_hand[i].name = wfs_strdup(name);
	w->by_hand[i].dir = wfs_asprintf("%s/%s", w->dir, path);
}

static void put_file(const char *path, const void *bytes, size_t len, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

	assert_true(fd >= 0);
	assert_int_equal(len, write(fd, bytes, len));
	assert_int_equal(0, close(fd));
}

/* A safetensors file with one tensor "t" of `n` bytes. */
static void put_shard(struct world *w, const char *path, unsigned n)
{
	char *full wfs_autofree = wfs_asprintf("%s/%s", w->dir, path);
	char *temp wfs_autofree = wfs_asprintf("%s/out/new", w->dir);
	struct wfs_text t = { 0 };
	char *header wfs_autofree =
		wfs_asprintf("{\"t\":{\"dtype\":\"U8\",\"shape\":[%u],"
			     "\"data_offsets\":[0,%u]}}",
			     n, n);
	uint64_t len = strlen(header);

	wfs_text_add_bytes(&t, &len, sizeof(len));
	wfs_text_add(&t, "%s", header);
	for (unsigned i = 0; i < n; i++)
		wfs_text_add(&t, "%c", 'a' + (int)(i % 26));
	put_file(temp, t.data, t.len, O_TRUNC);
	free(t.data);
	assert_int_equal(0, rename(temp, full));
}

static void put_model(struct world *w, const char *path, unsigned n)
{
	char *full wfs_autofree = wfs_asprintf("%s/%s", w->dir, path);
	char *shard wfs_autofree = wfs_asprintf("%s/model.safetensors", path);

	assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
	put_shard(w, shard, n);
}

static void move(struct world *w, const char *from, const char *to)
{
	char *a wfs_autofree = wfs_asprintf("%s/%s", w->dir, from);
	char *b wfs_autofree = wfs_asprintf("%s/%s", w->dir, to);

	assert_int_equal(0, rename(a, b));
}

/* Bytes of the model's tensors, or -1 when it is not served. */
static int64_t served(struct world *w, const char *name)
{
	uint32_t slot;
	struct wfs_model *model =
		wfs_registry_by_name(w->registry, name, &slot);
	int64_t bytes = model ? (int64_t)model->tensor_bytes : -1;

	wfs_model_put(model);
	return bytes;
}

static unsigned count_events(struct world *w, const char *kind)
{
	char *want wfs_autofree = wfs_asprintf("\"event\":\"%s\"", kind);
	struct wfs_text t = { 0 };
	uint64_t pos = w->events;
	char buf[4096];
	unsigned n = 0;
	ssize_t got;

	while ((got = wfs_events_read(pos, buf, sizeof(buf))) > 0) {
		wfs_text_add_bytes(&t, buf, (size_t)got);
		pos += (uint64_t)got;
	}
	for (char *p = t.data; p && (p = strstr(p, want)); p++)
		n++;
	free(t.data);
	return n;
}

static void look(struct world *w, unsigned times)
{
	while (times--)
		wfs_watch_look(w->watch);
}

static void the_first_look_loads_all_at_once(void **state)
{
	struct world *w = *state;
	char name[32];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "models/m%d", i);
		put_model(w, name, 100 + (unsigned)i);
	}
	assert_int_equal(0, watch(w, true, NULL));
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		assert_int_equal(100 + i, served(w, name));
	}
	assert_int_equal(0, w->complaints);
}

static void a_new_checkpoint_is_served_after_two_looks_that_agree(void **state)
{
	struct world *w = *state;

	assert_int_equal(0, watch(w, true, NULL));
	put_model(w, "models/a", 10);
	look(w, 1);
	assert_int_equal(-1, served(w, "a"));
	look(w, 1);
	assert_int_equal(10, served(w, "a"));
}

static void a_checkpoint_that_still_grows_is_left_alone(void **state)
{
	struct world *w = *state;
	char *extra wfs_autofree = wfs_asprintf("%s/models/a/notes", w->dir);

	assert_int_equal(0, watch(w, true, NULL));
	put_model(w, "models/a", 10);
	for (int i = 0; i < 5; i++) {
		put_file(extra, "x", 1, O_APPEND);
		look(w, 1);
		assert_int_equal(-1, served(w, "a"));
	}
	look(w, 1);
	assert_int_equal(10, served(w, "a"));
}

static void a_bad_checkpoint_is_told_once_and_the_others_served(void **state)
{
	struct world *w = *state;
	char *bad wfs_autofree =
		wfs_asprintf("%s/models/b/model.safetensors", w->dir);

	put_model(w, "models/a", 10);
	put_model(w, "models/b", 10);
	assert_int_equal(0, truncate(bad, 12));
	assert_int_equal(0, watch(w, true, NULL));
	look(w, 5);
	assert_int_equal(10, served(w, "a"));
	assert_int_equal(-1, served(w, "b"));
	assert_int_equal(1, w->complaints);
	assert_non_null(strstr(w->complaint, "'b'"));
	assert_non_null(strstr(w->complaint, "model.safetensors"));
	assert_int_equal(1, count_events(w, "error"));

	put_shard(w, "models/b/model.safetensors", 30);
	look(w, 2);
	assert_int_equal(30, served(w, "b"));
	assert_int_equal(1, count_events(w, "error"));
}

static void a_checkpoint_that_breaks_leaves_the_old_one_served(void **state)
{
	struct world *w = *state;
	char *bad wfs_autofree = wfs_asprintf("%s/out/bad", w->dir);

	put_model(w, "models/a", 10);
	assert_int_equal(0, watch(w, true, NULL));
	put_file(bad, "nonsense", 8, 0);
	move(w, "out/bad", "models/a/model.safetensors");
	look(w, 4);
	assert_int_equal(10, served(w, "a"));
	assert_int_equal(1, count_events(w, "error"));
	assert_int_equal(0, w->complaints);
}

static void a_checkpoint_replaced_by_rename_takes_over(void **state)
{
	struct world *w = *state;

	put_model(w, "models/a", 10);
	put_model(w, "out/a", 20);
	assert_int_equal(0, watch(w, true, NULL));
	move(w, "models/a", "out/old");
	move(w, "out/a", "models/a");
	look(w, 1);
	assert_int_equal(10, served(w, "a"));
	look(w, 1);
	assert_int_equal(20, served(w, "a"));
	assert_int_equal(1, count_events(w, "switch"));
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

	put_model(w, "models/a", 10);
	put_shard(w, "out/other", 15);
	assert_int_equal(0, wfs_file_slurp(other, 4096, &text, &len));
	assert_int_equal(0, utimensat(AT_FDCWD, path, old, 0));
	/* Somebody reads: unless it is stale the name moves in an hour. */
	wfs_registry_free(w->registry);
	w->registry = wfs_registry_new(3600 * S);
	assert_int_equal(0, watch(w, true, NULL));
	wfs_model_put(wfs_registry_by_name(w->registry, "a", &slot));
	wfs_registry_note_open(w->registry, slot, 1);

	put_file(path, text, len, 0);
	look(w, 1);
	assert_int_equal(1, count_events(w, "stale"));
	assert_int_equal(10, served(w, "a"));
	look(w, 2);
	assert_int_equal(15, served(w, "a"));
	wfs_model_put(wfs_registry_by_name(w->registry, "a", &new_slot));
	assert_int_not_equal(slot, new_slot);
	look(w, 3);
	assert_int_equal(1, count_events(w, "stale"));
	wfs_registry_note_open(w->registry, slot, -1);
}

static void a_checkpoint_missing_for_one_look_stays(void **state)
{
	struct world *w = *state;

	put_model(w, "models/a", 10);
	assert_int_equal(0, watch(w, true, NULL));
	move(w, "models/a", "out/a");
	look(w, 1);
	assert_int_equal(10, served(w, "a"));
	move(w, "out/a", "models/a");
	look(w, 3);
	assert_int_equal(10, served(w, "a"));
	assert_int_equal(0, count_events(w, "gone"));
}

static void a_checkpoint_that_went_is_withdrawn_and_may_come_back(void **state)
{
	struct world *w = *state;

	put_model(w, "models/a", 10);
	assert_int_equal(0, watch(w, true, NULL));
	move(w, "models/a", "out/a");
	look(w, 2);
	assert_int_equal(-1, served(w, "a"));
	assert_int_equal(1, count_events(w, "gone"));
	assert_int_equal(0, count_events(w, "error"));
	move(w, "out/a", "models/a");
	look(w, 2);
	assert_int_equal(10, served(w, "a"));
}

static void a_models_directory_that_goes_takes_its_models_along(void **state)
{
	struct world *w = *state;

	put_model(w, "models/a", 10);
	assert_int_equal(0, watch(w, true, NULL));
	move(w, "models", "elsewhere");
	look(w, 4);
	assert_int_equal(-1, served(w, "a"));
	assert_int_equal(1, count_events(w, "error"));
	move(w, "elsewhere", "models");
	look(w, 2);
	assert_int_equal(10, served(w, "a"));
}

static void nothing_left_to_mount_is_an_error(void **state)
{
	struct world *w = *state;
	struct wfs_err err = { 0 };

	name_by_hand(w, "a", "nowhere");
	assert_int_equal(-ENOENT, watch(w, false, &err));
	assert_non_null(strstr(err.text, "nothing is left to serve"));
	assert_int_equal(1, w->complaints);
	assert_non_null(strstr(w->complaint, "'a'"));
}

static void an_empty_models_directory_is_enough(void **state)
{
	assert_int_equal(0, watch(*state, true, NULL));
}

static void a_missing_models_directory_is_told_and_not_enough(void **state)
{
	struct world *w = *state;

	assert_int_equal(0, rmdir(w->models_dir));
	assert_int_equal(-ENOENT, watch(w, true, NULL));
	assert_non_null(strstr(w->complaint, w->models_dir));
}

static void one_good_checkpoint_is_enough(void **state)
{
	struct world *w = *state;

	put_model(w, "out/good", 10);
	name_by_hand(w, "bad", "nowhere");
	name_by_hand(w, "good", "out/good");
	assert_int_equal(0, rmdir(w->models_dir));
	assert_int_equal(0, watch(w, true, NULL));
	assert_int_equal(10, served(w, "good"));
	assert_int_equal(2, w->complaints);
}

static void
a_missing_checkpoint_is_told_once_and_served_once_there(void **state)
{
	struct world *w = *state;

	name_by_hand(w, "a", "out/a");
	assert_int_equal(0, watch(w, true, NULL));
	look(w, 6);
	assert_int_equal(1, w->complaints);
	assert_int_equal(1, count_events(w, "error"));
	put_model(w, "out/a", 10);
	look(w, 2);
	assert_int_equal(10, served(w, "a"));
}

static void a_checkpoint_named_by_hand_goes_before_the_directorys(void **state)
{
	struct world *w = *state;

	put_model(w, "models/a", 10);
	put_model(w, "out/a", 20);
	name_by_hand(w, "a", "out/a");
	assert_int_equal(0, watch(w, true, NULL));
	look(w, 3);
	assert_int_equal(20, served(w, "a"));
}

static void the_thread_sees_what_comes_and_stops_when_told(void **state)
{
	struct world *w = *state;
	uint64_t deadline = wfs_now_ns() + DEADLINE;

	assert_int_equal(0, watch(w, true, NULL));
	assert_int_equal(0, wfs_watch_start(w->watch));
	put_model(w, "models/a", 10);
	while (served(w, "a") < 0 && wfs_now_ns() < deadline)
		usleep(1000);
	wfs_watch_stop(w->watch);
	assert_int_equal(10, served(w, "a"));
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
		TW(nothing_left_to_mount_is_an_error),
		TW(an_empty_models_directory_is_enough),
		TW(a_missing_models_directory_is_told_and_not_enough),
		TW(one_good_checkpoint_is_enough),
		TW(a_missing_checkpoint_is_told_once_and_served_once_there),
		TW(a_checkpoint_named_by_hand_goes_before_the_directorys),
		TW(the_thread_sees_what_comes_and_stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
