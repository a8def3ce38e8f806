/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: checking, finding the pieces of a read, owning.
 *
 * Pieces may interleave, and then a stretch of the file that a few of them
 * share is theirs together: it ends where their bytes are as many as it has,
 * and a read asks each of them for what it has there.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/cover.h"
#include "core/plan/recipe.h"

/* From the first byte to the last along all loops; false: more than 64 bits. */
static bool reach_of(const struct wfs_nest *nest, uint64_t run, bool source,
		     uint64_t *ret_reach)
{
	uint64_t reach = run;

	for (unsigned i = 0; i < nest->n; i++) {
		const struct wfs_loop *loop = &nest->loops[i];
		uint64_t more;

		if (__builtin_mul_overflow(loop->count - 1,
					   source ? loop->stride : loop->step,
					   &more) ||
		    __builtin_add_overflow(reach, more, &reach))
			return false;
	}
	*ret_reach = reach;
	return true;
}

static int check_region(const struct wfs_piece *p, const struct wfs_nest *nest,
			uint32_t i, struct wfs_err *err)
{
	uint64_t run, end;

	if (!p->region)
		return wfs_err_set(err, -EINVAL, "piece %u has no region", i);
	if (p->cast >= WFS_CAST_COUNT ||
	    nest->run % wfs_cast_to((enum wfs_cast)p->cast))
		return wfs_err_set(err, -EINVAL,
				   "piece %u casts parts of elements", i);
	run = wfs_cast_source((enum wfs_cast)p->cast, nest->run);
	for (unsigned k = 0; k < nest->n; k++)
		if (nest->loops[k].stride < run)
			return wfs_err_set(
				err, -EINVAL,
				"piece %u of '%s': runs of %" PRIu64
				" bytes overlap with a stride of %" PRIu64,
				i, p->region->path, run, nest->loops[k].stride);
	if (!reach_of(nest, run, true, &end) ||
	    __builtin_add_overflow(end, p->off, &end) || end > p->region->size)
		return wfs_err_set(err, -EINVAL,
				   "piece %u leaves its region '%s' of %" PRIu64
				   " bytes",
				   i, p->region->path, p->region->size);
	return 0;
}

/* Each loop steps over all that is inside it. */
static int check_steps(const struct wfs_nest *nest, uint32_t i,
		       struct wfs_err *err)
{
	uint64_t inner = nest->run;

	for (unsigned k = nest->n; k--;) {
		const struct wfs_loop *loop = &nest->loops[k];
		uint64_t more;

		if (loop->step < inner)
			return wfs_err_set(err, -EINVAL,
					   "piece %u overlaps itself: steps of "
					   "%" PRIu64 " over %" PRIu64 " bytes",
					   i, loop->step, inner);
		if (__builtin_mul_overflow(loop->count - 1, loop->step,
					   &more) ||
		    __builtin_add_overflow(inner, more, &inner))
			return wfs_err_set(err, -EINVAL,
					   "piece %u is more than 64 bits can "
					   "count",
					   i);
	}
	return 0;
}

static int check_piece(const struct wfs_piece *p, const struct wfs_nest *nest,
		       uint32_t i, struct wfs_err *err)
{
	if (p->kind == WFS_PIECE_CONST &&
	    (!p->pattern_len || p->pattern_len > sizeof(p->pattern)))
		return wfs_err_set(err, -EINVAL,
				   "piece %u has a pattern of %u bytes, not of "
				   "1 to 8",
				   i, p->pattern_len);
	if (p->kind == WFS_PIECE_REGION) {
		int rc = check_region(p, nest, i, err);

		if (rc)
			return rc;
	} else if (p->kind != WFS_PIECE_ZERO && p->kind != WFS_PIECE_CONST) {
		return wfs_err_set(err, -EINVAL, "piece %u has kind %d", i,
				   (int)p->kind);
	}
	return check_steps(nest, i, err);
}

/* Not empty, and its bytes can be counted. */
static int count_piece(const struct wfs_piece *p, uint32_t i,
		       uint64_t *ret_bytes, struct wfs_err *err)
{
	uint64_t bytes = p->run;
	bool fits;

	if (p->nloops > WFS_LOOPS)
		return wfs_err_set(err, -EINVAL, "piece %u has %u loops", i,
				   p->nloops);
	fits = !__builtin_mul_overflow(bytes, p->count, &bytes);
	for (unsigned k = 0; k < p->nloops; k++)
		fits = !__builtin_mul_overflow(bytes, p->loops[k].count,
					       &bytes) &&
		       fits;
	if (fits && !bytes)
		return wfs_err_set(err, -EINVAL, "piece %u is empty", i);
	if (!fits || __builtin_add_overflow(*ret_bytes, bytes, ret_bytes))
		return wfs_err_set(err, -EINVAL,
				   "the pieces up to %u are more than 64 bits "
				   "can count",
				   i);
	return 0;
}

/* What is known of the pieces so far. */
struct checked {
	const struct wfs_recipe *recipe;
	uint64_t total, reach;
	uint32_t first; /* of those that share a stretch with the last one */
	uint64_t at;	/* where that begins */
};

/* How piece `i`, of `bytes`, goes on from those before it. */
static int check_place(struct checked *c, const struct wfs_nest *nest,
		       uint32_t i, uint64_t bytes, struct wfs_err *err)
{
	const struct wfs_piece *p = &c->recipe->pieces[i];
	uint64_t end;

	/* What was is full if and only if it begins after all of that. */
	if (p->at > c->reach || (p->at == c->reach) != (c->reach == c->total) ||
	    (i && p->at < c->recipe->pieces[i - 1].at))
		return wfs_err_set(err, -EINVAL,
				   "piece %u begins at %" PRIu64
				   " after %" PRIu64 " bytes",
				   i, p->at, c->total);
	if (c->total == c->reach) {
		c->first = i;
		c->at = c->reach;
	}
	if (__builtin_add_overflow(p->at, wfs_nest_extent(nest, 0), &end))
		end = UINT64_MAX;
	if (end > c->reach)
		c->reach = end;
	c->total += bytes;
	if (c->reach != c->recipe->ends[i])
		return wfs_err_set(err, -EINVAL,
				   "the pieces up to %u reach %" PRIu64
				   ", not %" PRIu64,
				   i, c->reach, c->recipe->ends[i]);
	if (c->total == c->reach &&
	    !wfs_pieces_fill(&c->recipe->pieces[c->first], i + 1 - c->first,
			     c->at, c->reach - c->at))
		return wfs_err_set(err, -EINVAL,
				   "the pieces from %u to %u overlap, and "
				   "leave gaps from %" PRIu64 " to %" PRIu64,
				   c->first, i, c->at, c->reach);
	return 0;
}

int wfs_recipe_check(const struct wfs_recipe *recipe, struct wfs_err *err)
{
	struct checked c = { .recipe = recipe };
	uint64_t total = 0;

	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		struct wfs_nest nest;
		int rc = count_piece(p, i, &total, err);

		if (rc)
			return rc;
		wfs_nest_of(p, &nest);
		rc = check_piece(p, &nest, i, err);
		if (!rc && recipe->ends)
			rc = check_place(&c, &nest, i, total - c.total, err);
		if (rc)
			return rc;
	}
	if (total != recipe->size || (recipe->ends && c.reach != total))
		return wfs_err_set(err, -EINVAL,
				   "the pieces are %" PRIu64
				   " bytes, the file is %" PRIu64,
				   total, recipe->size);
	return 0;
}

uint32_t wfs_recipe_first(const struct wfs_recipe *recipe, uint64_t off)
{
	uint32_t low = 0, high = recipe->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (recipe->ends[middle] > off)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool wfs_recipe_is_turned(const struct wfs_recipe *recipe, uint64_t off)
{
	const struct wfs_piece *p;
	struct wfs_nest nest;

	/* One written by hand has no loops. */
	if (!recipe->ends || off >= recipe->size)
		return false;
	p = &recipe->pieces[wfs_recipe_first(recipe, off)];
	if (p->kind != WFS_PIECE_REGION)
		return false;
	wfs_nest_of(p, &nest);
	for (unsigned i = 1; i < nest.n; i++)
		if (nest.loops[i - 1].stride < nest.loops[i].stride)
			return true;
	return false;
}

static int read_pieces(const struct wfs_recipe *recipe, char *buf, uint64_t lo,
		       uint64_t hi)
{
	uint64_t at = 0;
	int rc = 0;

	for (uint32_t i = recipe->ends ? wfs_recipe_first(recipe, lo) : 0;
	     i < recipe->n && !rc; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		struct wfs_nest nest;

		if ((recipe->ends ? p->at : at) >= hi)
			break;
		wfs_nest_of(p, &nest);
		if (!recipe->ends) {
			nest.at = at;
			at += p->run * p->count;
		}
		rc = wfs_piece_read(p, &nest, buf, lo, hi);
	}
	return rc;
}

ssize_t wfs_recipe_read(const struct wfs_recipe *recipe, void *buf, size_t len,
			uint64_t off)
{
	int rc;

	if (off >= recipe->size || !len)
		return 0;
	if (len > recipe->size - off)
		len = (size_t)(recipe->size - off);
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	rc = read_pieces(recipe, buf, off, off + len);
	return rc ? rc : (ssize_t)len;
}

int wfs_recipe_check_sources(const struct wfs_recipe *recipe)
{
	const struct wfs_region *last = NULL;

	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		int rc;

		/* Neighbours are often of one shard file: ask it once. */
		if (p->kind != WFS_PIECE_REGION || p->region == last)
			continue;
		rc = wfs_region_check(p->region);
		if (rc)
			return rc;
		last = p->region;
	}
	return 0;
}

/* One block: the recipe, its pieces, their loops, the ends. */
struct owned_recipe {
	struct wfs_recipe recipe;
	atomic_uint owners;
	struct wfs_piece pieces[];
};

static void number_pieces(struct wfs_piece *pieces, uint32_t n, uint64_t *ends)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		pieces[i].at = at;
		pieces[i].step = 0;
		pieces[i].nloops = 0;
		at += pieces[i].run * pieces[i].count;
		ends[i] = at;
	}
}

struct wfs_recipe *wfs_recipe_dup(const struct wfs_recipe *recipe)
{
	struct owned_recipe *copy;
	struct wfs_loop *loops;
	uint64_t *ends;
	size_t nloops = 0;

	for (uint32_t i = 0; i < recipe->n; i++)
		nloops += recipe->pieces[i].nloops;
	copy = wfs_malloc(
		sizeof(*copy) +
		recipe->n * (sizeof(copy->pieces[0]) + sizeof(*recipe->ends)) +
		nloops * sizeof(*loops));
	loops = (struct wfs_loop *)&copy->pieces[recipe->n];
	ends = (uint64_t *)&loops[nloops];
	copy->recipe = *recipe;
	atomic_init(&copy->owners, 1);
	copy->recipe.pieces = copy->pieces;
	copy->recipe.ends = ends;
	for (uint32_t i = 0; i < recipe->n; i++) {
		struct wfs_piece *p = &copy->pieces[i];

		*p = recipe->pieces[i];
		for (unsigned k = 0; k < p->nloops; k++)
			loops[k] = p->loops[k];
		p->loops = loops;
		loops += p->nloops;
		if (p->kind == WFS_PIECE_REGION)
			wfs_source_get(p->region->source);
	}
	if (!recipe->ends)
		number_pieces(copy->pieces, recipe->n, ends);
	else if (recipe->n)
		memcpy(ends, recipe->ends, recipe->n * sizeof(*ends));
	return &copy->recipe;
}

static struct owned_recipe *owned(struct wfs_recipe *recipe)
{
	return (struct owned_recipe *)recipe;
}

struct wfs_recipe *wfs_recipe_get(struct wfs_recipe *recipe)
{
	atomic_fetch_add(&owned(recipe)->owners, 1);
	return recipe;
}

void wfs_recipe_free(struct wfs_recipe *recipe)
{
	if (!recipe || atomic_fetch_sub(&owned(recipe)->owners, 1) > 1)
		return;
	for (uint32_t i = 0; i < recipe->n; i++) {
		if (recipe->pieces[i].kind == WFS_PIECE_REGION)
			wfs_source_put(recipe->pieces[i].region->source);
	}
	free(recipe);
}
