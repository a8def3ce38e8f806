/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: random expressions, read at random places and compared with a model
 * that finds each element by itself.
 */
#include "tests/unit/t.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/text.h"
#include "core/plan/view.h"
#include "core/store/chunks.h"
#include "tests/unit/chance.h"
#include "tests/unit/expression.h"
#include "tests/unit/memory_source.h"

#define BYTES (1024 * 1024)

static unsigned char bytes[BYTES];
static int bytes_fd;

static int fill_bytes(void **state)
{
	uint64_t x = 1;

	(void)state;
	for (size_t i = 0; i < BYTES; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		bytes[i] = (unsigned char)(x >> 56);
	}
	bytes_fd = memfd_create("bytes", MFD_CLOEXEC);
	assert_int_equal(write(bytes_fd, bytes, BYTES), BYTES);
	return 0;
}

static int close_bytes(void **state)
{
	(void)state;
	return close(bytes_fd);
}

/* ---- making both */

struct maker {
	struct chance chance;
	struct wfs_pool pool;
	struct memory_source *source;
	struct wfs_chunks *chunks;
};

static uint64_t below(struct maker *m, uint64_t n)
{
	return chance_below(&m->chance, n);
}

static struct node *node_like(struct maker *m, enum op op,
			      const struct node *like)
{
	struct node *n = wfs_pool_alloc(&m->pool, sizeof(*n), 1);

	memset(n, 0, sizeof(*n));
	n->op = op;
	n->dtype = like->dtype;
	n->ndim = like->ndim;
	memcpy(n->shape, like->shape, sizeof(n->shape));
	return n;
}

static const struct node *random_node(struct maker *m, const struct node *like,
				      unsigned depth);

static struct node *random_leaf(struct maker *m, const struct node *like)
{
	struct node *n = node_like(m, below(m, 6) ? SOURCE : CONST, like);
	unsigned width = wfs_dtype_bits(n->dtype);
	uint64_t size = expression_elements(n) * width / 8 + 1;

	if (size > BYTES / 2)
		n->op = CONST;
	else
		n->off = below(m, BYTES - size);
	/* Often side by side, or at equal distances. */
	if (below(m, 2))
		n->off = below(m, 8) * 4096;
	if (below(m, 2))
		memset(n->pattern, width < 8 ? 0 : (int)below(m, 256),
		       sizeof(n->pattern));
	return n;
}

static struct node *random_slice(struct maker *m, const struct node *like,
				 unsigned depth)
{
	struct node *n = node_like(m, SLICE, like);
	struct node whole = *like;
	uint64_t more = below(m, 6);

	n->dim = (unsigned)below(m, n->ndim);
	whole.shape[n->dim] += more;
	n->off = below(m, more + 1);
	n->operands[0] = random_node(m, &whole, depth - 1);
	return n;
}

/* Parts of their own, or slices of one whole. */
static struct node *random_concat(struct maker *m, const struct node *like,
				  unsigned depth)
{
	struct node *n = node_like(m, CONCAT, like);
	const struct node *whole = NULL;
	uint64_t left, at = 0;
	bool equal = below(m, 2);

	n->dim = (unsigned)below(m, n->ndim);
	n->count = 2 + (unsigned)below(m, 3);
	left = n->shape[n->dim];
	equal = equal && left % n->count == 0;
	if (below(m, 3) == 0)
		whole = random_node(m, like, depth - 1);
	for (unsigned i = 0; i < n->count; i++) {
		struct node part = *like;
		uint64_t len = i + 1 == n->count ? left : below(m, left + 1);

		if (equal)
			len = n->shape[n->dim] / n->count;
		part.shape[n->dim] = len;
		left -= len;
		if (whole) {
			struct node *slice = node_like(m, SLICE, &part);

			slice->dim = n->dim;
			slice->off = below(m, 4) ? at :
						   below(m, n->shape[n->dim] -
								    len + 1);
			slice->operands[0] = whole;
			n->operands[i] = slice;
			at += len;
		} else {
			n->operands[i] = random_node(m, &part, depth - 1);
		}
	}
	return n;
}

static struct node *random_transpose(struct maker *m, const struct node *like,
				     unsigned depth)
{
	struct node *n = node_like(m, TRANSPOSE, like);
	struct node other = *like;

	n->dim = (unsigned)below(m, n->ndim);
	n->dim2 = (unsigned)below(m, n->ndim);
	other.shape[n->dim] = like->shape[n->dim2];
	other.shape[n->dim2] = like->shape[n->dim];
	n->operands[0] = random_node(m, &other, depth - 1);
	return n;
}

static struct node *random_reshape(struct maker *m, const struct node *like,
				   unsigned depth)
{
	struct node *n = node_like(m, RESHAPE, like);
	struct node other = *like;
	uint64_t left = expression_elements(like);

	other.ndim = 0;
	while (left > 1 && other.ndim < 4) {
		uint64_t factor = 1 + below(m, left);

		while (left % factor)
			factor--;
		if (below(m, 4) == 0)
			factor = left;
		other.shape[other.ndim++] = factor;
		left /= factor;
	}
	other.shape[other.ndim++] = left;
	n->operands[0] = random_node(m, &other, depth - 1);
	return n;
}

static struct node *random_cast(struct maker *m, const struct node *like,
				unsigned depth)
{
	struct node *n = node_like(m, CAST, like);
	const enum wfs_dtype from[] = { WFS_F16, WFS_I64,
					like->dtype == WFS_F32 ? WFS_BF16 :
								 WFS_F32 };
	struct node other = *like;

	other.dtype = from[below(m, 3)];
	n->operands[0] = random_node(m, &other, depth - 1);
	return n;
}

static const struct node *random_node(struct maker *m, const struct node *like,
				      unsigned depth)
{
	if (!depth || !like->ndim)
		return random_leaf(m, like);
	switch (below(m, 9)) {
	case 0:
		return random_leaf(m, like);
	case 1:
	case 2:
		return random_slice(m, like, depth);
	case 3:
	case 4:
		return random_concat(m, like, depth);
	case 5:
		return random_transpose(m, like, depth);
	case 6:
	case 7:
		return random_reshape(m, like, depth);
	default:
		if (like->dtype != WFS_F32 && like->dtype != WFS_BF16)
			return random_leaf(m, like);
		return random_cast(m, like, depth);
	}
}

static const struct wfs_view *view_of(struct maker *m, const struct node *n,
				      struct wfs_err *err)
{
	const struct wfs_view *v[4];

	for (unsigned i = 0; i < 4; i++)
		v[i] = n->operands[i] ? view_of(m, n->operands[i], err) : NULL;
	switch (n->op) {
	case SOURCE:
		return wfs_view_source(&m->pool, &m->source->region, n->off,
				       n->dtype, n->ndim, n->shape);
	case SLICE:
		return wfs_view_slice(&m->pool, v[0], n->dim, n->off,
				      n->shape[n->dim], err);
	case TRANSPOSE:
		return wfs_view_transpose(&m->pool, v[0], n->dim, n->dim2, err);
	case RESHAPE:
		return wfs_view_reshape(&m->pool, v[0], n->ndim, n->shape, err);
	case CONST:
		return wfs_view_const(&m->pool, n->dtype, n->ndim, n->shape,
				      n->pattern);
	case CAST:
		return wfs_view_cast(&m->pool, v[0], n->dtype, err);
	case CONCAT:
	default:
		return wfs_view_concat(&m->pool, v, n->count, n->dim, err);
	}
}

static void compare(struct maker *m, const struct wfs_recipe *r,
		    const unsigned char *want)
{
	unsigned char *got wfs_autofree = wfs_malloc(r->size + 1);

	for (int i = 0; i < 12; i++) {
		uint64_t off = i ? below(m, r->size + 1) : 0;
		size_t len = i ? below(m, r->size + 1) : r->size;
		size_t most = len < r->size - off ? len : r->size - off;

		if (i > 6)
			len = most = most < 16 ? most : below(m, 16);
		memset(got, 0xee, r->size + 1);
		assert_int_equal(wfs_recipe_read(r, got, len, off), most);
		if (memcmp(got, want + off, most))
			fail_msg("%zu bytes at %zu are not the model's", len,
				 (size_t)off);
		assert_int_equal(got[most], 0xee);
	}
}

/* By way of the chunk cache, whoever else may want the bytes. */
static void compare_cached(struct maker *m, const struct wfs_recipe *r,
			   const unsigned char *want)
{
	if (below(m, 2))
		return;
	for (uint32_t i = 0; i < r->n; i++) {
		/* Ours, as the layout's that sets them. */
		struct wfs_piece *p =
			(struct wfs_piece *)(uintptr_t)&r->pieces[i];

		p->same = (uint8_t)below(m, 4);
		p->around = (uint8_t)below(m, 4);
	}
	m->source->base.chunks = m->chunks;
	compare(m, r, want);
	wfs_chunks_drop(m->chunks, &m->source->base);
	m->source->base.chunks = NULL;
}

static void expression_is_as_the_model(struct maker *m, const struct node *n)
{
	struct wfs_err err = { 0 };
	struct wfs_recipe *r = NULL;
	struct wfs_text text = { 0 };
	const struct wfs_view *v = view_of(m, n, &err);
	unsigned char *want;
	int rc;

	if (!v && strstr(err.text, "whole bytes"))
		return;
	if (!v)
		fail_msg("no view: %s", err.text);
	rc = wfs_view_recipe(v, &r, &err);
	if (rc && strstr(err.text, "within bytes")) {
		assert_true(wfs_dtype_bits(n->dtype) < 8);
		return;
	}
	wfs_view_describe(v, &text);
	if (rc)
		fail_msg("no recipe of %s: %s", text.data, err.text);
	assert_int_equal(r->size, wfs_view_bytes(v));
	want = expression_bytes(n, bytes, r->size);
	compare(m, r, want);
	compare_cached(m, r, want);
	free(want);
	free(text.data);
	wfs_recipe_free(r);
}

static void random_expressions_are_as_the_model(void **state)
{
	static const enum wfs_dtype dtypes[] = { WFS_BF16, WFS_F32, WFS_U8,
						 WFS_I64,  WFS_F4,  WFS_BF16,
						 WFS_F32 };
	const struct wfs_chunks_config config = { .bytes = 4u << 20 };
	struct maker m = { .chance = chance_new() };
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(wfs_chunks_open(&config, &m.chunks, &err), 0);
	for (int round = 0; round < 3000; round++) {
		struct node like = { .ndim = (unsigned)below(&m, 5) };

		m.source = memory_source_new(bytes, BYTES);
		m.source->fd = below(&m, 2) ? bytes_fd : 0;
		like.dtype = dtypes[below(&m, 7)];
		for (unsigned i = 0; i < like.ndim; i++)
			like.shape[i] = below(&m, 12) ? 1 + below(&m, 9) :
							1 + below(&m, 40);
		if (below(&m, 50) == 0 && like.ndim)
			like.shape[0] = 0;
		if (like.dtype == WFS_F4 && like.ndim)
			like.shape[like.ndim - 1] *= 2;
		if (expression_elements(&like) < 20000 &&
		    expression_elements(&like) * wfs_dtype_bits(like.dtype) %
				    8 ==
			    0)
			expression_is_as_the_model(
				&m, random_node(&m, &like,
						1 + (unsigned)below(&m, 5)));
		wfs_pool_clear(&m.pool);
		wfs_source_put(&m.source->base);
	}
	wfs_chunks_close(m.chunks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_expressions_are_as_the_model),
	};

	return cmocka_run_group_tests(tests, fill_bytes, close_bytes);
}
