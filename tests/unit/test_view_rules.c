/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: what their makers refuse, and how few pieces they become.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/view.h"
#include "tests/unit/memory_source.h"

#define BYTES (1024 * 1024)

static unsigned char bytes[BYTES];

struct maker {
	struct wfs_pool pool;
	struct memory_source *source;
};

/* ---- what is refused */

static const struct wfs_view *source_of(struct maker *m, enum wfs_dtype dtype,
					uint64_t off, uint64_t rows,
					uint64_t columns)
{
	uint64_t shape[2] = { rows, columns };

	return wfs_view_source(&m->pool, &m->source->region, off, dtype, 2,
			       shape);
}

#define REFUSED(view, what)                                                    \
	do {                                                                   \
		assert_null(view);                                             \
		assert_string_equal(err.text, what);                           \
	} while (0)

static void what_does_not_fit_is_refused_with_the_numbers(void **state)
{
	struct maker m = { .source = memory_source_new(bytes, BYTES) };
	const struct wfs_view *v = source_of(&m, WFS_BF16, 0, 6, 100);
	const struct wfs_view *two[2] = { v, source_of(&m, WFS_BF16, 0, 6, 7) };
	struct wfs_pool *p = &m.pool;
	struct wfs_err err = { 0 };
	struct wfs_recipe *r;
	uint64_t shape[2] = { 7, 100 };

	(void)state;
	REFUSED(wfs_view_slice(p, v, 1, 96, 32, &err),
		"dim 1 has 100 elements, 96..128 asked for");
	REFUSED(wfs_view_slice(p, v, 2, 0, 1, &err),
		"there is no dim 2 in [6, 100]");
	REFUSED(wfs_view_transpose(p, v, 0, 3, &err),
		"there is no dim 3 in [6, 100]");
	REFUSED(wfs_view_concat(p, two, 2, 0, &err),
		"[6, 100] and [6, 7] cannot be concatenated along dim 0");
	two[1] = source_of(&m, WFS_F16, 0, 6, 100);
	REFUSED(wfs_view_concat(p, two, 2, 0, &err),
		"BF16 and F16 cannot be concatenated");
	REFUSED(wfs_view_concat(p, two, 0, 0, &err),
		"there is nothing to concatenate");
	REFUSED(wfs_view_reshape(p, v, 2, shape, &err),
		"[6, 100] does not have as many elements as [7, 100]");
	REFUSED(wfs_view_cast(p, v, WFS_I32, &err),
		"BF16 cannot be cast to I32 (BF16, F16 and I64 can to F32, F32, "
		"F16 and I64 to BF16)");
	/* Nothing is said about what was refused before. */
	err.text[0] = '\0';
	two[1] = NULL;
	REFUSED(wfs_view_concat(p, two, 2, 0, &err), "");
	REFUSED(wfs_view_cast(p, NULL, WFS_F32, &err), "");
	assert_int_equal(
		wfs_view_recipe(source_of(&m, WFS_BF16, BYTES - 8, 1, 5), &r,
				&err),
		-EINVAL);
	assert_non_null(strstr(err.text, "leaves its region 'bytes'"));
	wfs_pool_clear(p);
	wfs_source_put(&m.source->base);
}

static void a_view_is_written_down(void **state)
{
	struct maker m = { .source = memory_source_new(bytes, BYTES) };
	const struct wfs_view *v = source_of(&m, WFS_BF16, 64, 6, 100);
	uint64_t shape[1] = { 60 };
	struct wfs_text text = { 0 };

	(void)state;
	v = wfs_view_named(&m.pool, v, "x.weight");
	v = wfs_view_slice(&m.pool, v, 1, 10, 10, NULL);
	v = wfs_view_reshape(&m.pool, v, 1, shape, NULL);
	v = wfs_view_cast(&m.pool, v, WFS_F32, NULL);
	wfs_view_describe(v, &text);
	wfs_text_add(&text, " ");
	wfs_view_describe(source_of(&m, WFS_BF16, 64, 6, 100), &text);
	assert_string_equal(text.data,
			    "cast(reshape(slice(x.weight, 1, 10..20), [60]), "
			    "F32) bytes[64]");
	free(text.data);
	wfs_pool_clear(&m.pool);
	wfs_source_put(&m.source->base);
}

/* ---- how few pieces */

static struct wfs_recipe *recipe_of(const struct wfs_view *v)
{
	struct wfs_err err = { 0 };
	struct wfs_recipe *r = NULL;

	assert_non_null(v);
	if (wfs_view_recipe(v, &r, &err))
		fail_msg("%s", err.text);
	return r;
}

static void one_piece(const struct wfs_view *v, uint64_t run, uint64_t count,
		      unsigned nloops)
{
	struct wfs_recipe *r = recipe_of(v);

	assert_int_equal(r->n, 1);
	assert_int_equal(r->pieces[0].run, run);
	assert_int_equal(r->pieces[0].count, count);
	assert_int_equal(r->pieces[0].nloops, nloops);
	wfs_recipe_free(r);
}

static void what_is_regular_is_one_piece(void **state)
{
	struct maker m = { .source = memory_source_new(bytes, BYTES) };
	const struct wfs_view *v = source_of(&m, WFS_BF16, 0, 64, 100), *w;
	const struct wfs_view *experts[2 * 128];
	struct wfs_pool *p = &m.pool;

	(void)state;
	one_piece(v, 12800, 1, 0);
	w = wfs_view_slice(p, v, 0, 16, 16, NULL);
	one_piece(w, 3200, 1, 0);
	w = wfs_view_slice(p, v, 1, 25, 25, NULL);
	one_piece(w, 50, 64, 0);
	w = wfs_view_transpose(p, v, 0, 1, NULL);
	one_piece(w, 2, 64, 1);
	one_piece(wfs_view_transpose(p, w, 0, 1, NULL), 12800, 1, 0);
	/* Neighbours are joined again, along either dim. */
	for (unsigned dim = 0; dim < 2; dim++) {
		const struct wfs_view *parts[2] = {
			wfs_view_slice(p, v, dim, 10, 20, NULL),
			wfs_view_slice(p, v, dim, 30, 10, NULL),
		};

		w = wfs_view_concat(p, parts, 2, dim, NULL);
		one_piece(w, dim ? 60 : 6000, dim ? 64 : 1, 0);
	}
	/* w1 and w3 of experts that lie at equal distances. */
	for (unsigned i = 0; i < 256; i++)
		experts[i] = source_of(&m, WFS_BF16, 4096ull * i, 10, 10);
	one_piece(wfs_view_concat(p, experts, 256, 0, NULL), 200, 256, 0);
	wfs_pool_clear(p);
	wfs_source_put(&m.source->base);
}

/* Columns of q, k and v side by side, as packed weights have them. */
static void parts_side_by_side_are_a_piece_each(void **state)
{
	struct maker m = { .source = memory_source_new(bytes, BYTES) };
	const struct wfs_view *parts[3];
	struct wfs_recipe *r;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		parts[i] = source_of(&m, WFS_I32, 100000ull * i, 128,
				     10 * (i + 1));
	r = recipe_of(wfs_view_concat(&m.pool, parts, 3, 1, NULL));
	assert_int_equal(r->n, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r->pieces[i].run, 40 * (i + 1));
		assert_int_equal(r->pieces[i].count, 128);
		assert_int_equal(r->pieces[i].step, 240);
	}
	wfs_recipe_free(r);
	wfs_pool_clear(&m.pool);
	wfs_source_put(&m.source->base);
}

static void a_reshape_cuts_no_more_than_its_rows_do(void **state)
{
	struct maker m = { .source = memory_source_new(bytes, BYTES) };
	const struct wfs_view *v = source_of(&m, WFS_BF16, 0, 96, 64);
	uint64_t heads[3] = { 8, 12, 64 }, flat[1] = { 64 * 96 };
	struct wfs_recipe *r;

	(void)state;
	/* Every third head's part of a fused tensor. */
	v = wfs_view_reshape(&m.pool, v, 3, heads, NULL);
	one_piece(wfs_view_slice(&m.pool, v, 1, 4, 4, NULL), 512, 8, 0);
	/* A transposition, flattened: rows of 96, the first and last cut. */
	v = source_of(&m, WFS_BF16, 0, 96, 64);
	v = wfs_view_transpose(&m.pool, v, 0, 1, NULL);
	v = wfs_view_reshape(&m.pool, v, 1, flat, NULL);
	one_piece(v, 2, 96, 1);
	v = wfs_view_slice(&m.pool, v, 0, 5, 1000, NULL);
	r = recipe_of(v);
	assert_int_equal(r->n, 3);
	wfs_recipe_free(r);
	wfs_pool_clear(&m.pool);
	wfs_source_put(&m.source->base);
}

/* Each row beside the next: as one run they would overlap at the source. */
static void rows_beside_the_rows_below_them_stay_apart(void **state)
{
	struct maker m = { .source = memory_source_new(bytes, BYTES) };
	const struct wfs_view *v = source_of(&m, WFS_F32, 64, 3, 2);
	const struct wfs_view *two[2];
	struct wfs_recipe *r;

	(void)state;
	two[0] = wfs_view_slice(&m.pool, v, 0, 0, 2, NULL);
	two[1] = wfs_view_slice(&m.pool, v, 0, 1, 2, NULL);
	r = recipe_of(wfs_view_concat(&m.pool, two, 2, 1, NULL));
	assert_int_equal(r->size, 32);
	assert_int_equal(r->n, 2);
	wfs_recipe_free(r);
	wfs_pool_clear(&m.pool);
	wfs_source_put(&m.source->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_does_not_fit_is_refused_with_the_numbers),
		T(a_view_is_written_down),
		T(what_is_regular_is_one_piece),
		T(parts_side_by_side_are_a_piece_each),
		T(a_reshape_cuts_no_more_than_its_rows_do),
		T(rows_beside_the_rows_below_them_stay_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
