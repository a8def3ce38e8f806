/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views read backwards: random expressions over sources, whose elements are
 * then looked for in the expressions' own.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/invert.h"
#include "tests/unit/chance.h"
#include "tests/unit/memory_source.h"

#define MOST	4096
#define BOXES	256
#define SOURCES 16

/* Elements that count up. */
static uint16_t numbers[MOST];

struct fixture {
	struct chance chance;
	struct wfs_pool pool;
	struct memory_source *source;
	const struct wfs_view *whole;
	/* What expressions over it came to. */
	struct memory_source *values[SOURCES];
	uint8_t *bytes[SOURCES];
	uint32_t value_count;
	struct wfs_given given[BOXES];
	uint32_t count;
};

static uint64_t below(struct fixture *f, uint64_t n)
{
	return chance_below(&f->chance, n);
}

static void begin(struct fixture *f, struct chance chance, unsigned ndim,
		  const uint64_t *shape)
{
	memset(f, 0, sizeof(*f));
	f->chance = chance;
	for (uint16_t i = 0; i < MOST; i++)
		numbers[i] = i;
	f->source = memory_source_new((const unsigned char *)numbers,
				      sizeof(numbers));
	f->whole = wfs_view_source(&f->pool, &f->source->region, 0, WFS_U16,
				   ndim, shape);
}

static void end(struct fixture *f)
{
	for (uint32_t i = 0; i < f->value_count; i++) {
		wfs_source_put(&f->values[i]->base);
		free(f->bytes[i]);
	}
	wfs_source_put(&f->source->base);
	wfs_pool_clear(&f->pool);
}

/* The bytes of a view, freed by the caller. */
static uint8_t *bytes_of(const struct wfs_view *v)
{
	struct wfs_recipe *recipe = NULL;
	struct wfs_err err = { 0 };
	uint8_t *bytes;

	if (wfs_view_recipe(v, &recipe, &err))
		fail_msg("%s", err.text);
	bytes = wfs_malloc(recipe->size + 1);
	assert_int_equal(wfs_recipe_read(recipe, bytes, recipe->size, 0),
			 (ssize_t)recipe->size);
	wfs_recipe_free(recipe);
	return bytes;
}

static void note(void *ctx, const struct wfs_view *source,
		 const struct wfs_given *given)
{
	struct fixture *f = ctx;

	assert_ptr_equal(source, f->whole);
	assert_true(f->count < BOXES);
	f->given[f->count++] = *given;
}

/* Its bytes become a source of their own, which is read backwards. */
static int invert(struct fixture *f, const struct wfs_view *v)
{
	uint32_t i = f->value_count++;

	assert_non_null(v);
	assert_true(i < SOURCES);
	f->bytes[i] = bytes_of(v);
	f->values[i] = memory_source_new(f->bytes[i], wfs_view_bytes(v));
	return wfs_view_invert(&f->pool, v,
			       wfs_view_source(&f->pool, &f->values[i]->region,
					       0, v->dtype, v->ndim, v->shape),
			       note, f);
}

static const struct wfs_view *again(struct fixture *f)
{
	return wfs_view_compose(&f->pool, f->whole->ndim, f->whole->shape,
				f->given, f->count);
}

static void is_whole_again(struct fixture *f)
{
	const struct wfs_view *v = again(f);
	uint8_t *bytes wfs_autofree = NULL;

	assert_non_null(v);
	bytes = bytes_of(v);
	assert_memory_equal(bytes, numbers, wfs_view_bytes(f->whole));
}

/* ---- what rules do to a part of a tensor */

static const struct wfs_view *transposed(struct fixture *f,
					 const struct wfs_view *v)
{
	return wfs_view_transpose(&f->pool, v, (unsigned)below(f, v->ndim),
				  (unsigned)below(f, v->ndim), NULL);
}

/* Something constant, before it or behind it. */
static const struct wfs_view *padded(struct fixture *f,
				     const struct wfs_view *v)
{
	static const uint8_t pattern[8] = { 9, 9 };
	uint64_t shape[WFS_VIEW_DIMS];
	unsigned dim = (unsigned)below(f, v->ndim);
	const struct wfs_view *both[2] = { v, v };

	memcpy(shape, v->shape, v->ndim * sizeof(*shape));
	shape[dim] = 1 + below(f, 3);
	both[below(f, 2)] =
		wfs_view_const(&f->pool, v->dtype, v->ndim, shape, pattern);
	return wfs_view_concat(&f->pool, both, 2, dim, NULL);
}

/* The other half first. */
static const struct wfs_view *swapped(struct fixture *f,
				      const struct wfs_view *v)
{
	unsigned dim = (unsigned)below(f, v->ndim);
	uint64_t len = v->shape[dim], first = below(f, len + 1);
	const struct wfs_view *both[2] = {
		wfs_view_slice(&f->pool, v, dim, first, len - first, NULL),
		wfs_view_slice(&f->pool, v, dim, 0, first, NULL),
	};

	return wfs_view_concat(&f->pool, both, 2, dim, NULL);
}

/* With a dim of 1 in front. */
static const struct wfs_view *stacked(struct fixture *f,
				      const struct wfs_view *v)
{
	uint64_t shape[WFS_VIEW_DIMS] = { 1 };

	memcpy(shape + 1, v->shape, v->ndim * sizeof(*shape));
	return wfs_view_reshape(&f->pool, v, v->ndim + 1u, shape, NULL);
}

static const struct wfs_view *flat(struct fixture *f, const struct wfs_view *v)
{
	uint64_t all = wfs_view_bytes(v) / 2;

	return wfs_view_reshape(&f->pool, v, 1, &all, NULL);
}

static const struct wfs_view *changed(struct fixture *f,
				      const struct wfs_view *v)
{
	for (uint64_t n = below(f, 5); n; n--) {
		uint64_t what = below(f, 4);

		if (what == 0)
			v = transposed(f, v);
		else if (what == 1)
			v = padded(f, v);
		else if (what == 2)
			v = swapped(f, v);
		else if (v->ndim < 5)
			v = stacked(f, v);
	}
	return below(f, 4) ? v : flat(f, v);
}

/* All of it, in parts that may overlap, each changed in its own way. */
static void invert_parts(struct fixture *f, const struct wfs_view *v,
			 unsigned depth)
{
	unsigned dim = (unsigned)below(f, v->ndim);
	uint64_t len = v->shape[dim], cut = below(f, len + 1);
	uint64_t more = below(f, 3) ? 0 : below(f, len - cut + 1);

	if (!depth || !cut || cut == len) {
		assert_int_equal(invert(f, changed(f, v)), 0);
		return;
	}
	invert_parts(f, wfs_view_slice(&f->pool, v, dim, 0, cut + more, NULL),
		     depth - 1);
	invert_parts(f, wfs_view_slice(&f->pool, v, dim, cut, len - cut, NULL),
		     depth - 1);
}

static void what_was_cut_and_changed_is_whole_again(void **state)
{
	struct chance chance = chance_new();

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct fixture f;
		uint64_t shape[3];
		unsigned ndim = 1 + (unsigned)chance_below(&chance, 3);

		for (unsigned i = 0; i < ndim; i++)
			shape[i] = 1 + chance_below(&chance, 9);
		begin(&f, chance, ndim, shape);
		invert_parts(&f, f.whole, 3);
		is_whole_again(&f);
		chance = f.chance;
		end(&f);
	}
}

static const uint64_t four_by_six[] = { 4, 6 };

static void begin_matrix(struct fixture *f)
{
	begin(f, (struct chance){ 1 }, 2, four_by_six);
}

static void what_no_part_has_is_missed(void **state)
{
	struct fixture f;

	(void)state;
	begin_matrix(&f);
	assert_null(again(&f));
	invert(&f, wfs_view_slice(&f.pool, f.whole, 0, 0, 3, NULL));
	assert_null(again(&f));
	invert(&f, wfs_view_slice(&f.pool, f.whole, 1, 0, 5, NULL));
	assert_null(again(&f));
	invert(&f, wfs_view_slice(&f.pool, f.whole, 1, 4, 2, NULL));
	is_whole_again(&f);
	end(&f);
}

static void what_was_cast_is_not_found(void **state)
{
	uint64_t shape[] = { 4 };
	const struct wfs_view *v;
	struct fixture f;

	(void)state;
	begin(&f, (struct chance){ 1 }, 1, shape);
	v = wfs_view_source(&f.pool, &f.source->region, 0, WFS_BF16, 1, shape);
	v = wfs_view_cast(&f.pool, v, WFS_F32, NULL);
	assert_int_equal(invert(&f, v), 0);
	assert_int_equal(f.count, 0);
	end(&f);
}

static void a_part_of_what_was_reshaped_cannot_be_told(void **state)
{
	const struct wfs_view *v;
	struct fixture f;

	(void)state;
	begin_matrix(&f);
	v = wfs_view_slice(&f.pool, flat(&f, f.whole), 0, 0, 7, NULL);
	assert_int_equal(invert(&f, v), -ENOTSUP);
	assert_int_equal(f.count, 0);
	end(&f);
}

static void one_number_is_found(void **state)
{
	uint64_t one[] = { 1 };
	struct fixture f;

	(void)state;
	begin(&f, (struct chance){ 1 }, 0, NULL);
	assert_int_equal(
		invert(&f, wfs_view_reshape(&f.pool, f.whole, 1, one, NULL)),
		0);
	is_whole_again(&f);
	end(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(what_was_cut_and_changed_is_whole_again),
		T(what_no_part_has_is_missed),
		T(what_was_cast_is_not_found),
		T(a_part_of_what_was_reshaped_cannot_be_told),
		T(one_number_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
