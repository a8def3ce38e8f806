/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors in memory as files: names, ranks and spans.
 */
#include "tests/unit/live_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/text.h"
#include "core/model/model.h"

#define PAGE 4096

static void memory_that_is_not_there_is_refused(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *gone =
		mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	munmap(gone, PAGE);
	assert_int_equal(live_add(image, 0, "a", "here", 4), 0);
	assert_int_equal(live_add(image, 0, "t", gone, 5), 0);
	assert_int_equal(live_add(image, 0, "u", "here", 4), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), -EFAULT);
	assert_non_null(strstr(live_err.text, "tensor 't'"));
	wfs_live_image_put(image);
}

static void tied_tensors_have_one_name_or_all(void **state)
{
	static const char memory[100] = "the same";

	(void)state;
	for (int one = 0; one < 2; one++) {
		struct wfs_live_image *image = live_image("tp1", one);
		struct wfs_model *model;
		uint64_t size;
		char *bytes;

		assert_int_equal(live_add(image, 0, "z", memory, 100), 0);
		assert_int_equal(live_add(image, 0, "b", memory, 100), 0);
		assert_int_equal(live_add(image, 0, "part", memory, 50), 0);
		assert_int_equal(live_add(image, 0, "empty", memory, 0), 0);
		assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
		assert_int_equal(wfs_live_image_spans(image, NULL), 1);
		model = live_load(image);
		assert_int_equal(model->ranks[0].count, one ? 1 : 4);
		bytes = live_read_tensor(model, "0", "b", &size);
		assert_int_equal(size, 100);
		assert_memory_equal(bytes, memory, 100);
		free(bytes);
		wfs_model_put(model);
		wfs_live_image_put(image);
	}
}

static void one_rank_of_many_is_enough(void **state)
{
	static const struct {
		const char *layout, *file, *rank;
	} rows[] = {
		{ "tp4", "model-rank-3-part-0.safetensors", "3" },
		{ "tp2pp2", "model-pp-1-tp-1-part-0.safetensors", "pp-1-tp-1" },
		{ NULL, "model-rank-3-part-0.safetensors", "3" },
	};
	static const char bytes[3] = "abc";

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct wfs_live_image *image =
			live_image(rows[i].layout, false);
		struct wfs_model *model;

		assert_int_equal(live_add(image, 3, "t", bytes, 3), 0);
		if (rows[i].layout)
			assert_int_equal(live_add(image, 4, "t", bytes, 3),
					 -EINVAL);
		assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
		assert_string_equal(image->files[0].path, rows[i].file);
		model = live_load(image);
		assert_string_equal(model->ranks[0].name, rows[i].rank);
		assert_int_equal(model->source->live->ranks[0], 3);
		wfs_model_put(model);
		wfs_live_image_put(image);
	}
}

static void names_that_meet_are_refused(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);

	(void)state;
	assert_int_equal(live_add(image, 0, "t", "abc", 1), 0);
	assert_int_equal(live_add(image, 0, "t", "abc", 2), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), -EEXIST);
	wfs_live_image_put(image);
	image = live_image(NULL, false);
	assert_int_equal(live_add(image, 0, "t", "abc", 1), 0);
	assert_int_equal(wfs_live_image_add_file(image, "config.json", "{}", 2,
						 &live_err),
			 0);
	assert_int_equal(wfs_live_image_add_file(image, "config.json", "{}", 2,
						 &live_err),
			 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), -EEXIST);
	assert_int_equal(wfs_live_image_add_file(image, "../x", "{}", 2,
						 &live_err),
			 -EBUSY);
	wfs_live_image_put(image);
}

static void what_touches_is_one_span(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *pool = mmap(NULL, 100 * PAGE, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wfs_live_span *spans;
	char name[16];

	(void)state;
	/* 64 bytes apart, as an allocator has them; then two far away. */
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		assert_int_equal(live_add(image, 0, name,
					  pool + (size_t)i * 1064, 1000),
				 0);
	}
	assert_int_equal(
		live_add(image, 0, "far", pool + (size_t)50 * PAGE, PAGE), 0);
	assert_int_equal(
		live_add(image, 0, "in", pool + (size_t)50 * PAGE + 9, 9), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	assert_int_equal(wfs_live_image_spans(image, &spans), 2);
	assert_int_equal(spans[0].low, (uintptr_t)pool);
	assert_int_equal(spans[1].high - spans[1].low, PAGE);
	free(spans);
	wfs_live_image_put(image);
	munmap(pool, (size_t)100 * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(memory_that_is_not_there_is_refused),
		T(tied_tensors_have_one_name_or_all),
		T(one_rank_of_many_is_enough),
		T(names_that_meet_are_refused),
		T(what_touches_is_one_span),
	};

	return cmocka_run_group_tests_name("live", tests, live_setup,
					   live_teardown);
}
