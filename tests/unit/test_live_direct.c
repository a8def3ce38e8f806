/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that are sent from where they lie: as they are read, or never whole.
 */
#include "tests/unit/live_sending.h"

#include <string.h>
#include <sys/mman.h>

static int add_rows(struct wfs_live_image *image, const char *name,
		    const void *data, uint64_t rows, uint64_t columns,
		    int64_t step, const struct wfs_live_reader *reader)
{
	uint64_t shape[] = { rows, columns };
	int64_t strides[] = { step, 1 };
	struct wfs_live_said said = { .name = name,
				      .dtype = "U8",
				      .shape = shape,
				      .strides = strides,
				      .ndim = 2,
				      .data = data,
				      .reader = reader };

	return wfs_live_image_add(image, 0, &said, &live_err);
}

static void it_is_what_is_read(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *want wfs_autofree = wfs_malloc(WFS_CHUNK);
	char *a wfs_autofree = pattern(BYTES);
	struct wfs_region *region;
	struct wfs_model *model;
	struct sending s;

	(void)state;
	assert_int_equal(live_add(image, 0, "a", a, 300001), 0);
	assert_int_equal(live_add(image, 0, "b", a + 5, 0), 0);
	assert_int_equal(live_add(image, 0, "c", a + 5, 7), 0);
	/* From its end to its beginning. */
	assert_int_equal(add_rows(image, "d", a + 299 * 9000, 300, 5000, -9000,
				  NULL),
			 0);
	assert_int_equal(live_add(image, 0, "e", a + 77, 700000), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	region = region_of(model);
	assert_true(region->size > 2 * WFS_CHUNK);
	for (uint64_t i = 0; i < wfs_chunk_count(region->size); i++) {
		size_t len = wfs_chunk_len(region->size, i);

		start(&s, region, i * WFS_CHUNK, len);
		assert_int_equal(push(&s, len), 0);
		drain(&s);
		assert_int_equal(s.had, len);
		assert_int_equal(wfs_region_read_exactly(region, want, len,
							 i * WFS_CHUNK),
				 0);
		assert_memory_equal(s.got, want, len);
		finish(&s);
	}
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static int read_nothing(void *ctx, const struct iovec *pieces, int n, int fd,
			uint64_t off)
{
	(void)ctx;
	(void)pieces;
	(void)n;
	(void)fd;
	(void)off;
	return 0;
}

static void what_is_scattered_or_a_devices_is_copied(void **state)
{
	static const struct wfs_live_reader reader = { .read = read_nothing };
	struct wfs_live_image *image = live_image(NULL, false);
	char *a wfs_autofree = pattern(BYTES);
	struct wfs_region *region;
	struct wfs_model *model;
	struct wfs_live_direct *direct;

	(void)state;
	assert_int_equal(live_add(image, 0, "a", a, WFS_CHUNK), 0);
	assert_int_equal(add_rows(image, "b", a, 30000, 50, 100, NULL), 0);
	assert_int_equal(
		add_rows(image, "c", a, 1, WFS_CHUNK, WFS_CHUNK, &reader), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	region = region_of(model);
	direct = wfs_live_direct_new(region, 0, WFS_CHUNK);
	assert_non_null(direct);
	wfs_live_direct_free(direct);
	for (uint64_t i = 1; i < wfs_chunk_count(region->size); i++)
		assert_null(wfs_live_direct_new(
			region, i * WFS_CHUNK, wfs_chunk_len(region->size, i)));
	wfs_model_put(model);
	wfs_live_image_put(image);
}

static void memory_that_is_freed_midway_is_an_error(void **state)
{
	struct wfs_live_image *image = live_image(NULL, false);
	char *was wfs_autofree = pattern(BYTES);
	struct wfs_model *model;
	struct sending s;
	char *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	memcpy(at, was, BYTES);
	assert_int_equal(live_add(image, 0, "a", at, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	fill_up(&s);
	munmap(at, BYTES);
	assert_int_equal(push(&s, s.len), -EFAULT);
	drain(&s);
	/* What came is right, and it is not all. */
	assert_int_equal(s.had, s.at);
	assert_true(s.had < s.len);
	assert_memory_equal(s.got,
			    was + WFS_CHUNK - (region_of(model)->size - BYTES),
			    s.had);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
}

#define PAGE	     ((size_t)4096)
#define IN_NEXT_PAGE ((size_t)32) /* fewer than are sent last */

/* The end of its second chunk is the beginning of the page at *ret_page. */
static struct wfs_live_image *image_across_a_page(char *at, char **ret_page)
{
	struct wfs_live_image *image = live_image(NULL, false);
	struct wfs_model *model;
	size_t header, shift;

	assert_int_equal(live_add(image, 0, "a", at, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	model = live_load(image);
	header = region_of(model)->size - BYTES;
	wfs_model_put(model);
	wfs_live_image_put(image);
	shift = (header + IN_NEXT_PAGE) % PAGE;
	*ret_page = at + shift + 2 * WFS_CHUNK - header - IN_NEXT_PAGE;
	image = live_image(NULL, false);
	assert_int_equal(live_add(image, 0, "a", at + shift, BYTES), 0);
	assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
	return image;
}

static void memory_that_is_gone_under_the_last_bytes_is_an_error(void **state)
{
	char *page, *at = mmap(NULL, BYTES + PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wfs_live_image *image;
	struct wfs_model *model;
	struct sending s;

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	memset(at, 1, BYTES + PAGE);
	image = image_across_a_page(at, &page);
	model = live_load(image);
	start(&s, region_of(model), WFS_CHUNK, WFS_CHUNK);
	assert_int_equal(mprotect(page, PAGE, PROT_NONE), 0);
	assert_int_equal(push(&s, s.len), -EFAULT);
	assert_true(s.at < s.len);
	finish(&s);
	wfs_model_put(model);
	wfs_live_image_put(image);
	munmap(at, BYTES + PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_is_what_is_read),
		T(what_is_scattered_or_a_devices_is_copied),
		T(memory_that_is_freed_midway_is_an_error),
		T(memory_that_is_gone_under_the_last_bytes_is_an_error),
	};

	return cmocka_run_group_tests_name("live_direct", tests, live_setup,
					   live_teardown);
}
