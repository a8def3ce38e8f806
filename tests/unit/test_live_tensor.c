/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor as it lies in memory: strides, and what is said of them.
 */
#include "tests/unit/live_fixture.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/model.h"
#include "tests/unit/chance.h"

#define DIMS   4
#define ROUNDS 200

/* A view of an array of random steps, and what it has in order. */
struct view {
	uint64_t shape[DIMS];
	int64_t strides[DIMS];
	unsigned ndim;
	const uint16_t *data;
	uint16_t *want;
	size_t count;
};

static void make_view(struct chance *chance, const uint16_t *memory,
		      struct view *v)
{
	/* A dense array, whose dimensions are then swapped, cut and turned. */
	uint64_t dense = 1;
	uint64_t index[DIMS] = { 0 };

	*v = (struct view){ .ndim = (unsigned)chance_below(chance, DIMS + 1),
			    .data = memory,
			    .count = 1 };
	for (unsigned i = v->ndim; i-- > 0;) {
		uint64_t whole = 1 + chance_below(chance, 9);

		v->strides[i] = (int64_t)dense;
		dense *= whole;
		v->shape[i] = 1 + chance_below(chance, whole);
		switch (chance_below(chance, 4)) {
		case 0: /* backwards */
			v->data += v->strides[i] * (int64_t)(v->shape[i] - 1);
			v->strides[i] = -v->strides[i];
			break;
		case 1: /* the same again */
			v->strides[i] = 0;
			break;
		default:
			v->shape[i] = whole;
		}
		v->count *= v->shape[i];
	}
	for (unsigned i = 1; i < v->ndim; i++) {
		unsigned k = (unsigned)chance_below(chance, i + 1);
		uint64_t shape = v->shape[i];
		int64_t stride = v->strides[i];

		v->shape[i] = v->shape[k];
		v->strides[i] = v->strides[k];
		v->shape[k] = shape;
		v->strides[k] = stride;
	}
	v->want = wfs_calloc(v->count, sizeof(*v->want));
	for (size_t n = 0; n < v->count; n++) {
		int64_t at = 0;

		for (unsigned i = 0; i < v->ndim; i++)
			at += v->strides[i] * (int64_t)index[i];
		v->want[n] = v->data[at];
		for (unsigned i = v->ndim; i-- > 0;) {
			if (++index[i] < v->shape[i])
				break;
			index[i] = 0;
		}
	}
}

static void any_steps_give_the_elements_in_order(void **state)
{
	struct chance chance = chance_new();
	uint16_t *memory = wfs_calloc(10000, sizeof(*memory));

	(void)state;
	for (size_t i = 0; i < 10000; i++)
		memory[i] = (uint16_t)(i * 40503);
	for (int round = 0; round < ROUNDS; round++) {
		struct wfs_live_image *image = live_image(NULL, false);
		struct wfs_live_said said = { .name = "t", .dtype = "U16" };
		struct wfs_bounce *bounce = wfs_bounce_get(live_bounces);
		struct wfs_live_file *file;
		struct view v;
		size_t size, off, len;

		make_view(&chance, memory, &v);
		said.shape = v.shape;
		said.strides = v.strides;
		said.ndim = v.ndim;
		said.data = v.data;
		assert_int_equal(wfs_live_image_add(image, 0, &said, &live_err),
				 0);
		assert_int_equal(wfs_live_image_seal(image, &live_err), 0);
		file = &image->files[0];
		size = v.count * sizeof(uint16_t);
		assert_int_equal(file->size, file->len + size);
		off = chance_below(&chance, size);
		len = 1 + chance_below(&chance, size - off);
		assert_int_equal(wfs_live_image_copy(file, file->len + off, len,
						     bounce),
				 0);
		assert_memory_equal(bounce->bytes, (char *)v.want + off, len);
		wfs_bounce_put(bounce);
		wfs_live_image_put(image);
		free(v.want);
	}
	free(memory);
}

static void a_contiguous_tensor_is_one_run(void **state)
{
	uint64_t shape[] = { 2, 1, 3, 4 };
	int64_t strides[] = { 12, 99, 4, 1 };
	struct wfs_live_said said = { .name = "t",
				      .dtype = "F32",
				      .shape = shape,
				      .strides = strides,
				      .ndim = 4,
				      .data = shape };
	struct wfs_live_tensor t;

	(void)state;
	assert_int_equal(wfs_live_tensor_init(&said, &t, &live_err), 0);
	assert_int_equal(t.dims, 0);
	assert_int_equal(t.run, 96);
	assert_int_equal(t.high - t.low, 96);
	wfs_live_tensor_clear(&t);
}

static void refuses(const struct wfs_live_said *said, int code, const char *why)
{
	struct wfs_live_tensor t;

	assert_int_equal(wfs_live_tensor_init(said, &t, &live_err), code);
	if (!strstr(live_err.text, why))
		fail_msg("'%s' does not say '%s'", live_err.text, why);
}

static void wrong_descriptions_are_refused_by_name(void **state)
{
	uint64_t big[] = { 1ull << 40, 1ull << 40 }, two[] = { 2, 2 };
	int64_t far[] = { INT64_MAX / 2, 1 }, low[] = { INT64_MIN / 4, 1 };
	int64_t ones[] = { 1, 1 };
	struct wfs_live_said said = { .name = "w",
				      .dtype = "F32",
				      .shape = two,
				      .ndim = 2,
				      .data = two };
	struct wfs_live_said bad;

	(void)state;
	bad = said, bad.name = "";
	refuses(&bad, -EINVAL, "no name");
	bad = said, bad.name = "\xff";
	refuses(&bad, -EINVAL, "UTF-8");
	bad = said, bad.dtype = "F33";
	refuses(&bad, -EINVAL, "tensor 'w' has dtype 'F33'");
	bad = said, bad.dtype = NULL;
	refuses(&bad, -EINVAL, "dtype");
	bad = said, bad.shape = big;
	refuses(&bad, -EOVERFLOW, "too large");
	bad = said, bad.shape = NULL;
	refuses(&bad, -EINVAL, "no shape");
	bad = said, bad.ndim = 65;
	refuses(&bad, -EINVAL, "65 dimensions");
	bad = said, bad.data = NULL;
	refuses(&bad, -EINVAL, "no data");
	bad = said, bad.strides = far;
	refuses(&bad, -EOVERFLOW, "addresses");
	bad = said, bad.strides = low;
	refuses(&bad, -EOVERFLOW, "addresses");
	bad = said, bad.dtype = "F4", bad.strides = ones;
	refuses(&bad, -ENOTSUP, "less than a byte");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_steps_give_the_elements_in_order),
		T(a_contiguous_tensor_is_one_run),
		T(wrong_descriptions_are_refused_by_name),
	};

	return cmocka_run_group_tests_name("live", tests, live_setup,
					   live_teardown);
}
