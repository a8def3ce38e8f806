/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes whose pieces interleave, are repeated by loops and cast: each byte
 * of the file is found by itself, and is one piece's alone.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/recipe.h"
#include "tests/unit/chance.h"
#include "tests/unit/memory_source.h"

#define BYTES  (256 * 1024)
#define PIECES 24
#define LOOPS  4

static unsigned char bytes[BYTES];

static int fill_bytes(void **state)
{
	uint64_t x = 7;

	(void)state;
	for (size_t i = 0; i < BYTES; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		bytes[i] = (unsigned char)(x >> 56);
	}
	return 0;
}

/* A recipe that grows. */
struct made {
	struct wfs_piece pieces[PIECES];
	struct wfs_loop loops[PIECES][LOOPS];
	uint64_t ends[PIECES];
	struct wfs_recipe recipe;
};

/* All loops of a piece, the runs' own the last; their number. */
static unsigned all_loops(const struct wfs_piece *p,
			  struct wfs_loop out[LOOPS + 1])
{
	if (p->nloops)
		memcpy(out, p->loops, p->nloops * sizeof(*out));
	out[p->nloops] = (struct wfs_loop){ p->count, p->stride,
					    p->step ? p->step : p->run };
	return p->nloops + 1u;
}

static uint64_t reach_of(const struct wfs_piece *p)
{
	struct wfs_loop loops[LOOPS + 1];
	unsigned n = all_loops(p, loops);
	uint64_t reach = p->at + p->run;

	for (unsigned i = 0; i < n; i++)
		reach += (loops[i].count - 1) * loops[i].step;
	return reach;
}

static uint64_t bytes_of(const struct wfs_piece *p)
{
	uint64_t n = p->run * p->count;

	for (unsigned i = 0; i < p->nloops; i++)
		n *= p->loops[i].count;
	return n;
}

static int by_at(const void *a, const void *b)
{
	const struct wfs_piece *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static void finish(struct made *m, uint32_t n)
{
	uint64_t reach = 0;

	qsort(m->pieces, n, sizeof(*m->pieces), by_at);
	m->recipe = (struct wfs_recipe){ .n = n,
					 .pieces = m->pieces,
					 .ends = m->ends };
	for (uint32_t i = 0; i < n; i++) {
		if (reach_of(&m->pieces[i]) > reach)
			reach = reach_of(&m->pieces[i]);
		m->ends[i] = reach;
		m->recipe.size += bytes_of(&m->pieces[i]);
	}
}

/* What one run is, after its cast. */
static void take_run(const struct wfs_piece *p, uint64_t off, unsigned char *to)
{
	for (uint64_t i = 0; i < p->run; i++) {
		if (p->kind == WFS_PIECE_ZERO)
			to[i] = 0;
		else if (p->kind == WFS_PIECE_CONST)
			to[i] = p->pattern[i % p->pattern_len];
		else if (p->cast == WFS_CAST_BF16_F32)
			to[i] = i % 4 < 2 ? 0 :
					    bytes[off + i / 4 * 2 + i % 4 - 2];
		else
			to[i] = bytes[off + i];
	}
}

/* The file as the header says it, and how often each byte was written. */
static void put_together(const struct made *m, unsigned char *out,
			 unsigned char *times, uint64_t size)
{
	for (uint32_t i = 0; i < m->recipe.n; i++) {
		const struct wfs_piece *p = &m->pieces[i];
		struct wfs_loop loops[LOOPS + 1];
		unsigned n = all_loops(p, loops);
		uint64_t runs = bytes_of(p) / p->run;

		for (uint64_t k = 0; k < runs; k++) {
			uint64_t at = p->at, off = p->off, left = k;

			for (unsigned l = n; l--;) {
				uint64_t turn = left % loops[l].count;

				left /= loops[l].count;
				at += turn * loops[l].step;
				off += turn * loops[l].stride;
			}
			for (uint64_t b = 0; b < p->run && at + b < size; b++)
				times[at + b]++;
			if (out)
				take_run(p, off, out + at);
		}
	}
}

static bool covers_once(const struct made *m)
{
	unsigned char *times wfs_autofree = wfs_calloc(m->recipe.size + 1, 1);
	bool once = true;

	put_together(m, NULL, times, m->recipe.size);
	for (uint64_t i = 0; i < m->recipe.size; i++)
		once = once && times[i] == 1;
	return once;
}

/* ---- a tensor of up to four dims, cut to boxes */

struct box {
	uint64_t start[4], len[4];
};

static uint32_t cut_boxes(struct chance *c, const uint64_t *shape, unsigned n,
			  struct box *boxes)
{
	uint32_t count = 1;

	memset(boxes, 0, sizeof(*boxes));
	memcpy(boxes->len, shape, n * sizeof(*shape));
	for (int i = 0; i < 30 && count < PIECES; i++) {
		struct box *box = &boxes[chance_below(c, count)];
		unsigned dim = (unsigned)chance_below(c, n);
		uint64_t at = chance_below(c, box->len[dim]);

		if (!at)
			continue;
		boxes[count] = *box;
		boxes[count].start[dim] += at;
		boxes[count++].len[dim] -= at;
		box->len[dim] = at;
	}
	return count;
}

/* The piece of a box: loops in the file, and some in the region. */
static void make_piece(struct chance *c, struct made *m, uint32_t i,
		       const uint64_t *shape, unsigned n, const struct box *box,
		       struct memory_source *source)
{
	struct wfs_piece *p = &m->pieces[i];
	uint64_t width = 4, step = width, span;

	*p = (struct wfs_piece){ .kind = WFS_PIECE_REGION,
				 .region = &source->region,
				 .loops = m->loops[i] };
	p->cast = chance_below(c, 2) ? WFS_CAST_BF16_F32 : WFS_CAST_NONE;
	p->count = 1;
	p->run = box->len[n - 1] * width;
	p->at = box->start[n - 1] * width;
	span = p->cast ? p->run / 2 : p->run;
	for (unsigned d = n - 1; d--;) {
		struct wfs_loop *loop = &m->loops[i][d];

		step *= shape[d + 1];
		p->at += box->start[d] * step;
		*loop = (struct wfs_loop){ box->len[d], span, step };
		loop->stride += chance_below(c, 5);
		span = loop->stride * loop->count;
	}
	p->nloops = (uint8_t)(n - 1);
	/* The innermost loop may be the piece's own. */
	if (n > 1 && chance_below(c, 2)) {
		p->count = m->loops[i][n - 2].count;
		p->stride = m->loops[i][n - 2].stride;
		p->step = m->loops[i][n - 2].step;
		p->nloops--;
	}
	assert_true(span < BYTES);
	p->off = chance_below(c, BYTES - span);
	if (chance_below(c, 5) == 0) {
		p->kind = WFS_PIECE_CONST;
		p->pattern_len = 4;
		memcpy(p->pattern, "abcd", 4);
	}
}

static void make_recipe(struct chance *c, struct made *m,
			struct memory_source *source)
{
	unsigned n = 1 + (unsigned)chance_below(c, 4);
	struct box boxes[PIECES];
	uint64_t shape[4] = { 0 };
	uint32_t count;

	memset(m, 0, sizeof(*m));
	for (unsigned d = 0; d < n; d++)
		shape[d] = 1 + chance_below(c, 9);
	count = cut_boxes(c, shape, n, boxes);
	for (uint32_t i = 0; i < count; i++)
		make_piece(c, m, i, shape, n, &boxes[i], source);
	finish(m, count);
}

static void compare_reads(struct chance *c, const struct made *m)
{
	uint64_t size = m->recipe.size;
	unsigned char *want wfs_autofree = wfs_calloc(size + 1, 1);
	unsigned char *times wfs_autofree = wfs_calloc(size + 1, 1);
	unsigned char *got wfs_autofree = wfs_malloc(size + 1);

	put_together(m, want, times, size);
	for (int i = 0; i < 8; i++) {
		uint64_t off = i ? chance_below(c, size) : 0;
		uint64_t len = i ? 1 + chance_below(c, size - off) : size;

		got[len] = 0x5a;
		assert_int_equal(wfs_recipe_read(&m->recipe, got, len, off),
				 len);
		assert_memory_equal(got, want + off, len);
		assert_int_equal(got[len], 0x5a);
	}
}

static void boxes_of_a_tensor_are_right_and_read_so(void **state)
{
	struct memory_source *source = memory_source_new(bytes, BYTES);
	struct chance c = chance_new();

	(void)state;
	for (int round = 0; round < 500; round++) {
		struct wfs_err err = { 0 };
		struct made m;

		make_recipe(&c, &m, source);
		assert_true(covers_once(&m));
		if (wfs_recipe_check(&m.recipe, &err))
			fail_msg("round %d: %s", round, err.text);
		compare_reads(&c, &m);
	}
	wfs_source_put(&source->base);
}

/* Moves a piece, or the times of one of its loops, or the way between. */
static void disturb(struct chance *c, struct made *m)
{
	uint32_t i = (uint32_t)chance_below(c, m->recipe.n);
	struct wfs_piece *p = &m->pieces[i];
	uint64_t by = 4 * (1 + chance_below(c, 3));
	bool more = chance_below(c, 2);
	struct wfs_loop *loop =
		p->nloops ? (struct wfs_loop *)(uintptr_t)&p
				    ->loops[chance_below(c, p->nloops)] :
			    NULL;

	switch (chance_below(c, 5)) {
	case 0:
		p->at += more || p->at < by ? by : -by;
		break;
	case 1:
	case 2:
		if (loop)
			loop->step += more || loop->step <= by ? by : -by;
		break;
	case 3:
		if (loop)
			loop->count += more || loop->count == 1 ? 1 : -1ull;
		break;
	default:
		p->run += more || p->run <= by ? by : -by;
	}
}

static void what_does_not_cover_each_byte_once_is_refused(void **state)
{
	struct memory_source *source = memory_source_new(bytes, BYTES);
	struct chance c = chance_new();
	unsigned refused = 0, tricky = 0;

	(void)state;
	for (int round = 0; round < 4000; round++) {
		struct wfs_err err = { 0 };
		struct made m;

		make_recipe(&c, &m, source);
		for (uint64_t k = 1 + chance_below(&c, 3); k--;)
			disturb(&c, &m);
		finish(&m, m.recipe.n);
		if (!wfs_recipe_check(&m.recipe, &err)) {
			assert_true(covers_once(&m));
			continue;
		}
		assert_true(err.text[0]);
		refused++;
		/* Those that sums alone would let through. */
		tricky += strstr(err.text, "overlap, and leave gaps") != NULL;
	}
	assert_true(refused > 1000 && tricky > 0);
	wfs_source_put(&source->base);
}

static void sums_that_happen_to_be_right_are_not_enough(void **state)
{
	/* 0 1 . . 4 5 . . and . 1 2 . . . 6 7: twice 1, never 3 */
	struct made m = { 0 };
	struct wfs_err err = { 0 };

	(void)state;
	m.pieces[0] = (struct wfs_piece){
		.kind = WFS_PIECE_ZERO, .run = 2, .count = 2, .step = 4
	};
	m.pieces[1] = (struct wfs_piece){
		.kind = WFS_PIECE_ZERO, .run = 2, .count = 2, .step = 5, .at = 1
	};
	finish(&m, 2);
	assert_int_equal(m.recipe.size, 8);
	assert_int_equal(m.ends[1], 8);
	assert_int_equal(wfs_recipe_check(&m.recipe, &err), -EINVAL);
	assert_non_null(strstr(err.text, "pieces from 0 to 1 overlap"));
	/* 2 3 . . 6 7 instead */
	m.pieces[1].at = 2;
	m.pieces[1].step = 4;
	finish(&m, 2);
	assert_int_equal(wfs_recipe_check(&m.recipe, &err), 0);
}

/* Columns of two tensors side by side: a billion runs each. */
static void billions_of_runs_are_checked_at_once(void **state)
{
	struct made m = { 0 };
	struct wfs_err err = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		m.loops[i][0] = (struct wfs_loop){ 1 << 20, 0, 16 << 10 };
		m.pieces[i] = (struct wfs_piece){ .kind = WFS_PIECE_ZERO,
						  .run = 8,
						  .count = 1 << 10,
						  .step = 16,
						  .nloops = 1,
						  .loops = m.loops[i],
						  .at = 8ull * i };
	}
	finish(&m, 2);
	assert_int_equal(m.recipe.size, 1ull << 34);
	assert_int_equal(wfs_recipe_check(&m.recipe, &err), 0);
	m.pieces[1].at = 7;
	m.pieces[1].run = 9;
	finish(&m, 2);
	m.recipe.size = 1ull << 34;
	assert_int_equal(wfs_recipe_check(&m.recipe, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(boxes_of_a_tensor_are_right_and_read_so),
		T(what_does_not_cover_each_byte_once_is_refused),
		T(sums_that_happen_to_be_right_are_not_enough),
		T(billions_of_runs_are_checked_at_once),
	};

	return cmocka_run_group_tests(tests, fill_bytes, NULL);
}
