/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See live_fixture.h.
 */
#include "tests/unit/live_fixture.h"

#include "core/base/mem.h"

struct wfs_bounces *live_bounces;
struct wfs_err live_err;

int live_setup(void **state)
{
	(void)state;
	return wfs_bounces_new(&live_bounces, &live_err);
}

int live_teardown(void **state)
{
	(void)state;
	wfs_bounces_free(live_bounces);
	return 0;
}

struct wfs_live_image *live_image(const char *layout, bool one_name)
{
	struct wfs_live_model model = { .name = "m",
					.layout = layout,
					.one_name = one_name };
	struct wfs_live_image *image;

	assert_int_equal(
		wfs_live_image_new(&model, live_bounces, &image, &live_err), 0);
	return image;
}

int live_add(struct wfs_live_image *image, uint32_t rank, const char *name,
	     const void *data, uint64_t count)
{
	struct wfs_live_said said = { .name = name,
				      .dtype = "U8",
				      .shape = &count,
				      .ndim = 1,
				      .data = data };

	return wfs_live_image_add(image, rank, &said, &live_err);
}

struct wfs_model *live_load(struct wfs_live_image *image)
{
	struct wfs_source *source;
	struct wfs_model *model;

	assert_int_equal(wfs_live_open(image, &source, &live_err), 0);
	assert_int_equal(wfs_model_load(source, "m", 1, &model, &live_err), 0);
	wfs_source_put(source);
	return model;
}

char *live_read_tensor(const struct wfs_model *model, const char *rank,
		       const char *name, uint64_t *ret_size)
{
	int64_t r = wfs_model_find_rank(model, rank);
	const struct wfs_tensor *t;
	int64_t at;
	char *bytes;

	assert_true(r >= 0);
	at = wfs_rank_find_tensor(&model->ranks[r], name);
	assert_true(at >= 0);
	t = &model->ranks[r].tensors[at];
	bytes = wfs_malloc(t->size + 1);
	assert_int_equal(
		wfs_region_read_exactly(model->entries[t->shard].region, bytes,
					t->size, t->off),
		0);
	*ret_size = t->size;
	return bytes;
}
