/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that are sent from where they lie, while their owner changes them: of one
 * epoch, or never whole.
 */
#include "tests/unit/live_sending.h"
#include "tests/unit/live_writer.h"

#include <pthread.h>

/* Sent up to `until`, then comes an update. */
static void change_after(size_t until)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *bytes wfs_autofree = pattern(BYTES);
	struct wfs_model *model;
	struct sending s;

	assert_int_equal(live_add(image, 0, "a", bytes, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	assert_int_equal(push(&s, until), 0);
	assert_in_range(s.at, until, s.len - 1);
	assert_int_equal(wfs_live_cell_begin(&image->cell), 0);
	assert_int_equal(push(&s, s.len), -EBUSY);
	assert_int_equal(wfs_live_cell_end(&image->cell), 0);
	assert_int_equal(push(&s, s.len), -ESTALE);
	drain(&s);
	assert_int_equal(s.had, s.at);
	assert_true(s.had < s.len);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static void an_update_midway_ends_it(void **state)
{
	(void)state;
	change_after(0);
	change_after(1);
	change_after(WFS_CHUNK / 2);
	/* All but what is held back is out. */
	change_after(WFS_CHUNK - 64);
}

static void send_once(struct world *w)
{
	struct wfs_source *source;
	struct wfs_region *region;
	struct sending s;
	size_t n;
	int rc = wfs_live_open(w->image, &source, &live_err);

	if (rc) {
		assert_int_equal(rc, -EBUSY);
		return;
	}
	region = wfs_source_list(source, &n)->region;
	if (!try_start(&s, region, WFS_CHUNK, WFS_CHUNK)) {
		wfs_source_put(source);
		return;
	}
	rc = push(&s, s.len);
	drain(&s);
	if (rc) {
		assert_true(rc == -ESTALE || rc == -EBUSY);
		assert_true(s.had < s.len);
	} else {
		const uint64_t *words = (void *)(s.got + region->size % 8);
		size_t count = WFS_CHUNK / sizeof(*words) - 1;

		for (size_t i = 1; i < count; i++)
			assert_int_equal(words[i], words[0]);
		atomic_fetch_add(&w->whole, 1);
	}
	finish(&s);
	wfs_source_put(source);
}

static void what_becomes_whole_is_of_one_epoch(void **state)
{
	struct world w = { .count = BYTES / sizeof(uint64_t) };
	pthread_t thread;

	(void)state;
	w.words = wfs_calloc(w.count, sizeof(*w.words));
	w.image = live_image(NULL, false);
	assert_int_equal(live_add(w.image, 0, "t", w.words, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(w.image, &live_err), 0);
	assert_int_equal(pthread_create(&thread, NULL, change, &w), 0);
	while (!atomic_load(&w.done))
		send_once(&w);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&w.whole) >= ROUNDS / 2);
	wfs_live_image_put(w.image);
	free(w.words);
}

/* Who takes the memory away waits for no client that is slow. */
static void a_full_socket_keeps_nobody_from_the_memory(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *bytes wfs_autofree = pattern(BYTES);
	struct wfs_model *model;
	struct sending s;

	(void)state;
	assert_int_equal(live_add(image, 0, "a", bytes, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	fill_up(&s);
	wfs_live_cell_revoke(&image->cell);
	assert_int_equal(push(&s, s.len), -ESTALE);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_update_midway_ends_it),
		T(what_becomes_whole_is_of_one_epoch),
		T(a_full_socket_keeps_nobody_from_the_memory),
	};

	return cmocka_run_group_tests_name("live_direct_epoch", tests,
					   live_setup, live_teardown);
}
