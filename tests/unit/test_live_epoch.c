/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that changes: no reader has bytes of two epochs.
 */
#include "tests/unit/live_writer.h"

#include <errno.h>
#include <pthread.h>

#include "core/base/mem.h"
#include "core/model/model.h"

/* A chunk that is read is of one round, or it is not read. */
static void read_once(struct world *w)
{
	struct wfs_source *source;
	struct wfs_bounce *bounce;
	const struct wfs_source_entry *list;
	size_t n;
	int rc = wfs_live_open(w->image, &source, &live_err);

	if (rc) {
		assert_int_equal(rc, -EBUSY);
		return;
	}
	list = wfs_source_list(source, &n);
	rc = wfs_live_take(list[0].region, WFS_CHUNK, WFS_CHUNK, &bounce);
	if (rc) {
		assert_true(rc == -ESTALE || rc == -EBUSY);
	} else {
		const uint64_t *words =
			(const void *)(bounce->bytes +
				       list[0].region->size % 8);
		size_t count = WFS_CHUNK / sizeof(*words) - 1;

		for (size_t i = 1; i < count; i++)
			assert_int_equal(words[i], words[0]);
		wfs_bounce_put(bounce);
		atomic_fetch_add(&w->whole, 1);
	}
	wfs_source_put(source);
}

static void no_reader_has_two_epochs_in_a_chunk(void **state)
{
	struct world w = { .count = 3 * WFS_CHUNK / sizeof(uint64_t) };
	pthread_t thread;

	(void)state;
	w.words = wfs_calloc(w.count, sizeof(*w.words));
	w.image = live_image(NULL, false);
	assert_int_equal(live_add(w.image, 0, "t", w.words, w.count * 8), 0);
	assert_int_equal(wfs_live_image_seal(w.image, &live_err), 0);
	assert_int_equal(pthread_create(&thread, NULL, change, &w), 0);
	while (!atomic_load(&w.done))
		read_once(&w);
	pthread_join(thread, NULL);
	assert_int_equal(wfs_live_cell_epoch(&w.image->cell), 2 * ROUNDS);
	assert_true(atomic_load(&w.whole) >= ROUNDS / 2);
	wfs_live_image_put(w.image);
	free(w.words);
}

static void an_old_epoch_is_stale_and_one_under_way_is_busy(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	struct wfs_bounce *bounce;
	struct wfs_region *region;
	struct wfs_model *old;
	struct wfs_source *source;

	(void)state;
	assert_int_equal(live_add(image, 0, "t", "abc", 3), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	old = live_load(image);
	region = old->entries[1].region;
	assert_int_equal(wfs_live_take(region, 0, 8, &bounce), 0);
	wfs_bounce_put(bounce);
	assert_int_equal(wfs_live_cell_end(&image->cell), -EINVAL);
	assert_int_equal(wfs_live_cell_begin(&image->cell), 0);
	assert_int_equal(wfs_live_cell_begin(&image->cell), -EALREADY);
	assert_int_equal(wfs_live_take(region, 0, 8, &bounce), -EBUSY);
	assert_int_equal(wfs_live_open(image, &source, &live_err), -EBUSY);
	assert_int_equal(wfs_region_check(region), 0);
	assert_int_equal(wfs_live_cell_end(&image->cell), 0);
	assert_int_equal(wfs_live_take(region, 0, 8, &bounce), -ESTALE);
	assert_int_equal(wfs_region_check(region), -ESTALE);
	wfs_model_put(old);
	old = live_load(image);
	wfs_live_cell_revoke(&image->cell);
	assert_int_equal(wfs_live_take(old->entries[1].region, 0, 8, &bounce),
			 -ESTALE);
	assert_int_equal(wfs_live_open(image, &source, &live_err), -ESTALE);
	wfs_model_put(old);
	wfs_live_image_put(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(no_reader_has_two_epochs_in_a_chunk),
		T(an_old_epoch_is_stale_and_one_under_way_is_busy),
	};

	return cmocka_run_group_tests_name("live", tests, live_setup,
					   live_teardown);
}
