/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: the rules, the ownership, and reads compared with a model that
 * puts the file together byte by byte.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/recipe.h"
#include "tests/unit/chance.h"
#include "tests/unit/memory_source.h"

#define BYTES (1024 * 1024)

static unsigned char bytes[BYTES];

static int fill_bytes(void **state)
{
	uint64_t x = 1;

	(void)state;
	for (size_t i = 0; i < BYTES; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		bytes[i] = (unsigned char)(x >> 56);
	}
	return 0;
}

static struct wfs_piece slice(struct memory_source *m, uint64_t off,
			      uint64_t run)
{
	return (struct wfs_piece){
		.kind = WFS_PIECE_REGION,
		.region = &m->region,
		.off = off,
		.run = run,
		.count = 1,
	};
}

static struct wfs_piece runs(struct memory_source *m, uint64_t off,
			     uint64_t run, uint64_t stride, uint64_t count)
{
	struct wfs_piece p = slice(m, off, run);

	p.stride = stride;
	p.count = count;
	return p;
}

static struct wfs_recipe recipe_of(const struct wfs_piece *pieces, uint32_t n)
{
	struct wfs_recipe r = { .n = n, .pieces = pieces };

	for (uint32_t i = 0; i < n; i++)
		r.size += pieces[i].run * pieces[i].count;
	return r;
}

static void breaks_rule(struct wfs_piece piece, const char *rule)
{
	struct wfs_recipe r = { .n = 1, .pieces = &piece };
	struct wfs_err err = { 0 };

	/* May wrap: the sum is not what is looked at here. */
	r.size = piece.run * piece.count;
	assert_int_equal(wfs_recipe_check(&r, &err), -EINVAL);
	if (!strstr(err.text, rule))
		fail_msg("'%s' does not say '%s'", err.text, rule);
	assert_int_equal(wfs_recipe_check(&r, NULL), -EINVAL);
}

static void each_broken_rule_is_named(void **state)
{
	struct memory_source *m = memory_source_new(bytes, 100);
	struct wfs_piece p;

	(void)state;
	breaks_rule(slice(m, 0, 0), "is empty");
	breaks_rule(runs(m, 0, 4, 4, 0), "is empty");
	breaks_rule(slice(m, 1, 100), "leaves its region 'bytes'");
	breaks_rule(slice(m, 101, 1), "leaves its region");
	breaks_rule(slice(m, UINT64_MAX, 2), "leaves its region");
	breaks_rule(runs(m, 0, 10, 30, 5), "leaves its region");
	breaks_rule(runs(m, 0, 1, UINT64_MAX, 3), "leaves its region");
	breaks_rule(runs(m, 0, 10, 9, 2), "overlap");
	p = slice(m, 0, 1);
	p.region = NULL;
	breaks_rule(p, "no region");
	p.kind = WFS_PIECE_CONST;
	breaks_rule(p, "pattern");
	p.pattern_len = 9;
	breaks_rule(p, "pattern");
	p.kind = WFS_PIECE_ZERO;
	p.run = UINT64_MAX;
	p.count = 2;
	breaks_rule(p, "64 bits");
	wfs_source_put(&m->base);
}

static void pieces_must_add_up_to_the_size(void **state)
{
	struct memory_source *m = memory_source_new(bytes, 100);
	struct wfs_piece pieces[2] = { slice(m, 0, 60), slice(m, 60, 40) };
	struct wfs_recipe r = recipe_of(pieces, 2);
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(wfs_recipe_check(&r, &err), 0);
	r.size++;
	assert_int_equal(wfs_recipe_check(&r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "100 bytes, the file is 101"));
	wfs_source_put(&m->base);
}

static void the_last_run_may_end_where_the_region_does(void **state)
{
	struct memory_source *m = memory_source_new(bytes, 100);
	struct wfs_piece p = runs(m, 6, 10, 21, 5);
	struct wfs_recipe r = recipe_of(&p, 1);

	(void)state;
	assert_int_equal(wfs_recipe_check(&r, NULL), 0);
	p.off++;
	assert_int_equal(wfs_recipe_check(&r, NULL), -EINVAL);
	/* The stride means nothing where there is one run. */
	p = slice(m, 0, 100);
	p.stride = 3;
	r = recipe_of(&p, 1);
	assert_int_equal(wfs_recipe_check(&r, NULL), 0);
	wfs_source_put(&m->base);
}

static void a_file_without_bytes_has_no_pieces(void **state)
{
	struct wfs_recipe r = { 0 };
	struct wfs_recipe *copy;
	char buf[1];

	(void)state;
	assert_int_equal(wfs_recipe_check(&r, NULL), 0);
	assert_int_equal(wfs_recipe_read(&r, buf, 1, 0), 0);
	assert_int_equal(wfs_recipe_check_sources(&r), 0);
	copy = wfs_recipe_dup(&r);
	assert_int_equal(copy->size, 0);
	wfs_recipe_free(copy);
}

static void a_plain_slice_is_one_read_of_the_region(void **state)
{
	struct memory_source *m = memory_source_new(bytes, BYTES);
	struct wfs_piece p = slice(m, 100, 500000);
	struct wfs_recipe r = recipe_of(&p, 1);
	char *buf wfs_autofree = wfs_malloc(600000);

	(void)state;
	assert_int_equal(wfs_recipe_read(&r, buf, 600000, 7), 499993);
	assert_memory_equal(buf, bytes + 107, 499993);
	assert_int_equal(atomic_load(&m->reads), 1);
	assert_int_equal(wfs_recipe_read(&r, buf, 1, 500000), 0);
	/* Runs without gaps are a slice. */
	p = runs(m, 100, 1000, 1000, 500);
	assert_int_equal(wfs_recipe_read(&r, buf, 600000, 7), 499993);
	assert_memory_equal(buf, bytes + 107, 499993);
	assert_int_equal(atomic_load(&m->reads), 2);
	wfs_source_put(&m->base);
}

static void near_runs_are_read_together_and_far_ones_alone(void **state)
{
	struct memory_source *m = memory_source_new(bytes, BYTES);
	struct wfs_piece p = runs(m, 0, 512, 1024, 1000);
	struct wfs_recipe r = recipe_of(&p, 1);
	char *buf wfs_autofree = wfs_malloc(512000);

	(void)state;
	assert_int_equal(wfs_recipe_read(&r, buf, 512000, 0), 512000);
	assert_true(atomic_load(&m->reads) < 20);
	atomic_store(&m->reads, 0);
	p = runs(m, 0, 512, 32768, 30);
	r = recipe_of(&p, 1);
	assert_int_equal(wfs_recipe_read(&r, buf, 512000, 0), 512 * 30);
	assert_int_equal(atomic_load(&m->reads), 30);
	wfs_source_put(&m->base);
}

static void a_pattern_goes_on_where_a_read_starts(void **state)
{
	struct wfs_piece p = {
		.kind = WFS_PIECE_CONST,
		.pattern_len = 3,
		.pattern = "abc",
		.run = 10,
		.count = 1,
	};
	struct wfs_recipe r = recipe_of(&p, 1);
	char buf[16];

	(void)state;
	assert_int_equal(wfs_recipe_read(&r, buf, 16, 0), 10);
	assert_memory_equal(buf, "abcabcabca", 10);
	assert_int_equal(wfs_recipe_read(&r, buf, 4, 5), 4);
	assert_memory_equal(buf, "cabc", 4);
}

static void a_failure_of_a_source_is_the_readers(void **state)
{
	struct memory_source *m = memory_source_new(bytes, BYTES);
	struct wfs_piece pieces[2] = {
		{ .kind = WFS_PIECE_ZERO, .run = 10, .count = 1 },
		runs(m, 0, 16, 32, 100)
	};
	struct wfs_recipe r = recipe_of(pieces, 2);
	char buf[64];

	(void)state;
	atomic_store(&m->region.failed_once, true); /* keeps the log quiet */
	atomic_store(&m->fail_read, -EIO);
	assert_int_equal(wfs_recipe_read(&r, buf, 10, 0), 10);
	assert_int_equal(wfs_recipe_read(&r, buf, 11, 0), -EIO);
	assert_int_equal(wfs_recipe_read(&r, buf, 64, 20), -EIO);
	wfs_source_put(&m->base);
}

static void one_stale_region_makes_the_recipe_stale(void **state)
{
	struct memory_source *a = memory_source_new(bytes, 100);
	struct memory_source *b = memory_source_new(bytes, 100);
	struct wfs_piece pieces[] = {
		slice(a, 0, 10),
		slice(a, 10, 10),
		slice(b, 0, 10),
		{ .kind = WFS_PIECE_ZERO, .run = 1, .count = 1 },
	};
	struct wfs_recipe r = recipe_of(pieces, 4);

	(void)state;
	assert_int_equal(wfs_recipe_check_sources(&r), 0);
	assert_int_equal(atomic_load(&a->checks), 1);
	assert_int_equal(atomic_load(&b->checks), 1);
	atomic_store(&b->region.stale, true);
	assert_int_equal(wfs_recipe_check_sources(&r), -ESTALE);
	wfs_source_put(&a->base);
	wfs_source_put(&b->base);
}

static void a_copy_holds_its_sources(void **state)
{
	struct memory_source *m = memory_source_new(bytes, 100);
	struct wfs_piece pieces[] = {
		slice(m, 3, 10),
		{ .kind = WFS_PIECE_ZERO, .run = 1, .count = 1 },
		slice(m, 50, 10),
	};
	struct wfs_recipe r = recipe_of(pieces, 3);
	struct wfs_recipe *copy = wfs_recipe_dup(&r);
	bool closed = false;
	char buf[32];

	(void)state;
	m->closed = &closed;
	wfs_source_put(&m->base);
	memset(pieces, 0, sizeof(pieces));
	assert_false(closed);
	assert_int_equal(wfs_recipe_read(copy, buf, 32, 0), 21);
	assert_memory_equal(buf, bytes + 3, 10);
	assert_int_equal(buf[10], 0);
	assert_memory_equal(buf + 11, bytes + 50, 10);
	wfs_recipe_free(copy);
	assert_true(closed);
	wfs_recipe_free(NULL);
}

/* Runs of every scale: single bytes to more than any bounce buffer. */
static struct wfs_piece random_runs(struct chance *c, struct memory_source *m)
{
	uint64_t run = 1 + chance_below(c, 1ull << chance_below(c, 18));
	uint64_t gap = chance_below(c, 1ull << chance_below(c, 16));
	uint64_t stride = run + gap;
	uint64_t most = (BYTES - run) / stride;
	uint64_t count = 1 + chance_below(c, (most < 500 ? most : 500) + 1);
	uint64_t span = (count - 1) * stride + run;

	return runs(m, chance_below(c, BYTES - span + 1), run, stride, count);
}

static struct wfs_piece random_piece(struct chance *c, struct memory_source *m)
{
	struct wfs_piece p = { .count = 1 + chance_below(c, 5) };

	p.run = 1 + chance_below(c, 3000);
	switch (chance_below(c, 6)) {
	case 0:
		p.kind = WFS_PIECE_ZERO;
		return p;
	case 1:
		p.kind = WFS_PIECE_CONST;
		p.pattern_len = (uint8_t)(1 + chance_below(c, 8));
		for (int i = 0; i < 8; i++)
			p.pattern[i] = (uint8_t)chance_next(c);
		return p;
	case 2:
		return slice(m, chance_below(c, BYTES / 2),
			     1 + chance_below(c, BYTES / 2));
	default:
		return random_runs(c, m);
	}
}

/* Puts the file together as the header says it, a byte at a time. */
static unsigned char *naive(const struct wfs_recipe *r)
{
	unsigned char *out = wfs_malloc(r->size), *at = out;

	for (uint32_t i = 0; i < r->n; i++) {
		const struct wfs_piece *p = &r->pieces[i];

		for (uint64_t k = 0; k < p->run * p->count; k++) {
			uint64_t pos =
				p->off + k / p->run * p->stride + k % p->run;

			if (p->kind == WFS_PIECE_REGION)
				*at++ = bytes[pos];
			else if (p->kind == WFS_PIECE_ZERO)
				*at++ = 0;
			else
				*at++ = p->pattern[k % p->pattern_len];
		}
	}
	return out;
}

static void compare_reads(struct chance *c, const struct wfs_recipe *r)
{
	unsigned char *want wfs_autofree = naive(r);
	unsigned char *got wfs_autofree = wfs_malloc(r->size + 64);

	assert_int_equal(wfs_recipe_read(r, got, r->size + 64, 0), r->size);
	assert_memory_equal(got, want, r->size);
	for (int i = 0; i < 20; i++) {
		uint64_t off = chance_below(c, r->size + 10);
		size_t len = chance_below(c, 1ull << chance_below(c, 21));
		uint64_t left = off < r->size ? r->size - off : 0;
		size_t most = len < left ? len : left;

		/* Room to see that nothing beyond is written. */
		if (len > r->size)
			len = most = left;
		got[most] = 0x5a;
		assert_int_equal(wfs_recipe_read(r, got, len, off), most);
		assert_memory_equal(got, want + (most ? off : 0), most);
		assert_int_equal(got[most], 0x5a);
	}
}

static void random_recipes_read_as_the_naive_model(void **state)
{
	struct memory_source *m = memory_source_new(bytes, BYTES);
	struct chance c = chance_new();

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct wfs_piece pieces[6];
		uint32_t n = 1 + (uint32_t)chance_below(&c, 6);
		struct wfs_err err = { 0 };
		struct wfs_recipe r;

		for (uint32_t i = 0; i < n; i++)
			pieces[i] = random_piece(&c, m);
		r = recipe_of(pieces, n);
		if (wfs_recipe_check(&r, &err))
			fail_msg("round %d: %s", round, err.text);
		compare_reads(&c, &r);
	}
	wfs_source_put(&m->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_broken_rule_is_named),
		T(pieces_must_add_up_to_the_size),
		T(the_last_run_may_end_where_the_region_does),
		T(a_file_without_bytes_has_no_pieces),
		T(a_plain_slice_is_one_read_of_the_region),
		T(near_runs_are_read_together_and_far_ones_alone),
		T(a_pattern_goes_on_where_a_read_starts),
		T(a_failure_of_a_source_is_the_readers),
		T(one_stale_region_makes_the_recipe_stale),
		T(a_copy_holds_its_sources),
		T(random_recipes_read_as_the_naive_model),
	};

	return cmocka_run_group_tests(tests, fill_bytes, NULL);
}
