/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: the pieces that were found, joined to as few as there can be.
 *
 * First what goes on where another ends becomes one with it, so that what is
 * contiguous at the source is one run.  Then pieces that are alike and lie at
 * equal distances, as experts do, become one in a loop.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/view_inner.h"

/* More is a mistake, or bytes turned over one by one. */
#define MOST (1u << 20)

/* Interleaved pieces that may go on are looked for this far back. */
#define BACK 4

/* Makes piece `p` that of `nest`. */
static void set_nest(struct wfs_boxes *boxes, struct wfs_piece *p,
		     const struct wfs_nest *nest)
{
	unsigned inner = nest->n ? nest->n - 1 : 0;

	p->off = p->kind == WFS_PIECE_REGION ? nest->off : 0;
	p->at = nest->at;
	p->run = nest->run;
	p->count = nest->n ? nest->loops[inner].count : 1;
	p->stride = nest->n ? nest->loops[inner].stride : 0;
	p->step = nest->n ? nest->loops[inner].step : 0;
	if (inner) {
		size_t bytes = inner * sizeof(nest->loops[0]);
		struct wfs_loop *loops =
			wfs_pool_alloc(&boxes->loops, bytes, 1);

		memcpy(loops, nest->loops, bytes);
		p->loops = loops;
	}
	p->nloops = (uint8_t)inner;
}

int wfs_boxes_add(struct wfs_boxes *boxes, const struct wfs_piece *what,
		  const struct wfs_nest *nest, struct wfs_err *err)
{
	if (boxes->n == MOST)
		return wfs_err_set(err, -E2BIG,
				   "it is put together from more than %u "
				   "pieces",
				   MOST);
	if (boxes->n == boxes->cap) {
		boxes->cap = boxes->cap ? 2 * boxes->cap : 16;
		boxes->pieces = wfs_realloc(
			boxes->pieces, boxes->cap * sizeof(*boxes->pieces));
	}
	boxes->pieces[boxes->n] = *what;
	set_nest(boxes, &boxes->pieces[boxes->n++], nest);
	return 0;
}

/* ---- joining */

static bool same_kind(const struct wfs_piece *a, const struct wfs_piece *b)
{
	if (a->kind != b->kind || a->cast != b->cast ||
	    a->pattern_len != b->pattern_len)
		return false;
	if (a->kind == WFS_PIECE_REGION)
		return a->region == b->region;
	return !memcmp(a->pattern, b->pattern, a->pattern_len);
}

/* The nest of a piece; without a source, places are those in the file. */
static void get_nest(const struct wfs_piece *p, struct wfs_nest *nest)
{
	wfs_nest_of(p, nest);
	if (p->kind != WFS_PIECE_REGION)
		nest->off = nest->at;
}

static bool same_loops(const struct wfs_loop *a, const struct wfs_loop *b,
		       unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (a[i].count != b[i].count || a[i].stride != b[i].stride ||
		    a[i].step != b[i].step)
			return false;
	return true;
}

/* Does `b` lie these distances behind `a`? */
static bool behind(const struct wfs_nest *a, const struct wfs_nest *b,
		   uint64_t source, uint64_t file)
{
	return b->off == a->off + source && b->at == a->at + file;
}

/* Every run of `b` goes on where one of `a` ends. */
static bool join_runs(struct wfs_nest *a, const struct wfs_nest *b,
		      enum wfs_cast cast)
{
	if (a->n != b->n || !same_loops(a->loops, b->loops, a->n) ||
	    !behind(a, b, wfs_cast_source(cast, a->run), a->run))
		return false;
	a->run += b->run;
	return true;
}

/* `b` is more times of the outermost loop of `a`, or the other way round. */
static bool join_outer(struct wfs_nest *a, const struct wfs_nest *b)
{
	const struct wfs_nest *with = a->n >= b->n ? a : b;
	unsigned inner = with->n ? with->n - 1 : 0;
	uint64_t count_a = with->n && a->n == with->n ? a->loops[0].count : 1;
	uint64_t count_b = with->n && b->n == with->n ? b->loops[0].count : 1;
	struct wfs_loop loop;

	if (!with->n || a->run != b->run || a->n < inner || b->n < inner ||
	    !same_loops(a->loops + (a->n - inner), b->loops + (b->n - inner),
			inner))
		return false;
	loop = with->loops[0];
	if (a->n == b->n && (b->loops[0].stride != loop.stride ||
			     b->loops[0].step != loop.step))
		return false;
	if (!behind(a, b, count_a * loop.stride, count_a * loop.step))
		return false;
	loop.count = count_a + count_b;
	memmove(a->loops + 1, a->loops + (a->n - inner), inner * sizeof(loop));
	a->loops[0] = loop;
	a->n = inner + 1;
	return true;
}

/* `b` is all of `a` again, further on: a new loop around it. */
static bool join_series(struct wfs_nest *a, const struct wfs_nest *b,
			enum wfs_cast cast)
{
	struct wfs_loop loop = { .count = 2 };

	if (a->n != b->n || a->run != b->run || a->n >= WFS_LOOPS ||
	    !same_loops(a->loops, b->loops, a->n))
		return false;
	loop.stride = b->off - a->off;
	loop.step = b->at - a->at;
	if (b->off < a->off + wfs_cast_source(cast, a->run) ||
	    loop.step < wfs_nest_extent(a, 0))
		return false;
	memmove(a->loops + 1, a->loops, a->n * sizeof(loop));
	a->loops[0] = loop;
	a->n++;
	return true;
}

/* Rows of a matrix beside those below them: runs of more than a row. */
static bool overlaps(const struct wfs_nest *nest, enum wfs_cast cast)
{
	for (unsigned i = 0; i < nest->n; i++)
		if (nest->loops[i].stride < wfs_cast_source(cast, nest->run))
			return true;
	return false;
}

/* Joins piece `b` to `a`, if it can be; series only if asked for. */
static bool join(struct wfs_boxes *boxes, struct wfs_piece *a,
		 const struct wfs_piece *b, bool series)
{
	enum wfs_cast cast = (enum wfs_cast)a->cast;
	struct wfs_nest x, y;

	if (!same_kind(a, b))
		return false;
	get_nest(a, &x);
	get_nest(b, &y);
	if (!join_runs(&x, &y, cast) && !join_outer(&x, &y) &&
	    !(series && join_series(&x, &y, cast)))
		return false;
	if (a->kind == WFS_PIECE_REGION && overlaps(&x, cast))
		return false;
	wfs_nest_tidy(&x, cast);
	set_nest(boxes, a, &x);
	return true;
}

/* Joins each piece to one of the last few before it; true if any was. */
static bool join_all(struct wfs_boxes *boxes, bool series)
{
	uint32_t n = 0;
	bool any = false;

	for (uint32_t i = 0; i < boxes->n; i++) {
		bool joined = false;

		for (uint32_t k = 1; k <= BACK && k <= n && !joined; k++)
			joined = join(boxes, &boxes->pieces[n - k],
				      &boxes->pieces[i], series);
		if (joined)
			any = true;
		else
			boxes->pieces[n++] = boxes->pieces[i];
	}
	boxes->n = n;
	return any;
}

static int by_at(const void *a, const void *b)
{
	const struct wfs_piece *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

void wfs_boxes_join(struct wfs_boxes *boxes)
{
	if (boxes->n < 2)
		return;
	qsort(boxes->pieces, boxes->n, sizeof(*boxes->pieces), by_at);
	while (join_all(boxes, false))
		;
	while (join_all(boxes, true))
		;
}

/* ---- out */

int wfs_boxes_recipe(const struct wfs_boxes *boxes, uint64_t size,
		     struct wfs_recipe **ret_recipe, struct wfs_err *err)
{
	uint64_t *ends wfs_autofree = wfs_malloc(boxes->n * sizeof(*ends));
	struct wfs_recipe recipe = {
		.size = size,
		.n = boxes->n,
		.pieces = boxes->pieces,
		.ends = ends,
	};
	uint64_t reach = 0;
	int rc;

	for (uint32_t i = 0; i < boxes->n; i++) {
		const struct wfs_piece *p = &boxes->pieces[i];
		struct wfs_nest nest;

		wfs_nest_of(p, &nest);
		if (p->at + wfs_nest_extent(&nest, 0) > reach)
			reach = p->at + wfs_nest_extent(&nest, 0);
		ends[i] = reach;
	}
	rc = wfs_recipe_check(&recipe, err);
	if (rc)
		return rc;
	*ret_recipe = wfs_recipe_dup(&recipe);
	return 0;
}

void wfs_boxes_clear(struct wfs_boxes *boxes)
{
	free(boxes->pieces);
	wfs_pool_clear(&boxes->loops);
}
