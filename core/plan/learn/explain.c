/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tensor of one rank, taken apart: boxes that are boxes of tensors of the
 * checkpoint, one after the other along one dim, and zeros at the end.
 *
 * A window of the tensor that the index knows says which tensor may be there
 * and where; how far they go on alike is then found by comparing a few lines
 * of each dim.  Whether all of it is alike is for others to see.
 */
#include <errno.h>
#include <string.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

#define SCAN  65536u /* elements at least in which a window must be known */
#define CHUNK 4096u
#define LINE  512u /* elements of a line that are compared */
#define ROWS  4u
#define HITS  8u
#define SHIFT 4u /* elements that may be equal by chance */

/* Where a tensor of the checkpoint may begin in the one looked at. */
struct candidate {
	struct wfs_found_piece piece;
	struct wfs_elements source;
	int score;
};

struct search {
	const struct wfs_look *look;
	const struct wfs_elements *e;
	struct wfs_pool pool;
	char *ours, *theirs;	    /* buffers */
	uint64_t at[WFS_VIEW_DIMS]; /* where the next piece begins */
	struct candidate best;
};

static void unravel(const uint64_t *shape, unsigned ndim, uint64_t flat,
		    uint64_t *ret)
{
	for (unsigned d = ndim; d--;) {
		ret[d] = flat % shape[d];
		flat /= shape[d];
	}
}

/* Are `n` elements equal, ours from `a`, the source's from `b`?  1, 0 … */
static int same_run(struct search *s, const struct wfs_elements *source,
		    const uint64_t *a, const uint64_t *b, uint64_t n)
{
	const struct wfs_elements *e = s->e;
	int rc;

	n = n < LINE ? n : LINE;
	rc = wfs_elements_read(e, s->ours,
			       wfs_elements_flat(e->shape, e->ndim, a), n);
	if (!rc)
		rc = wfs_elements_read(
			source, s->theirs,
			wfs_elements_flat(source->shape, source->ndim, b), n);
	return rc ? rc : !memcmp(s->ours, s->theirs, n * e->size);
}

/* Our element `flat` is the source's `place`: is it where a piece can begin
   at s->at?  Kept if it is the best so far. */
static int try_place(struct search *s, uint64_t flat,
		     const struct wfs_index_place *place, bool merged)
{
	const struct wfs_look *look = s->look;
	const struct wfs_elements *e = s->e;
	const struct wfs_model *base = look->learn->base;
	struct candidate c = { .piece = { .source = place->source,
					  .merged = merged } };
	uint64_t ours[WFS_VIEW_DIMS], theirs[WFS_VIEW_DIMS];
	unsigned last = e->ndim - 1u;
	int rc;

	if (base->ranks[0].tensors[place->source].ndim != e->ndim + merged)
		return 0;
	rc = wfs_elements_open(wfs_learn_source_view(&s->pool, base,
						     place->source, merged,
						     look->dtype),
			       &c.source, NULL);
	if (rc)
		return 0;
	unravel(e->shape, e->ndim, flat, ours);
	unravel(c.source.shape, e->ndim, place->at, theirs);
	rc = 1;
	for (unsigned d = 0; d < e->ndim; d++) {
		rc = rc && theirs[d] + s->at[d] >= ours[d];
		c.piece.start[d] = theirs[d] + s->at[d] - ours[d];
		c.piece.full[d] = c.source.shape[d];
		rc = rc && c.piece.start[d] < c.source.shape[d];
	}
	c.score = wfs_learn_likeness(base->ranks[0].tensors[place->source].name,
				     look->name);
	rc = rc && (!s->best.source.recipe || c.score > s->best.score);
	if (rc)
		rc = same_run(
			s, &c.source, s->at, c.piece.start,
			wfs_least(WFS_LEARN_WINDOW,
				  wfs_least(e->shape[last] - s->at[last],
					    c.piece.full[last] -
						    c.piece.start[last])));
	if (rc > 0) {
		wfs_elements_close(&s->best.source);
		s->best = c;
	} else {
		wfs_elements_close(&c.source);
	}
	return rc;
}

/* Looks for the piece that begins at s->at: 1, 0, or an error. */
static int find_piece(struct search *s)
{
	const struct wfs_elements *e = s->e;
	uint64_t first = wfs_elements_flat(e->shape, e->ndim, s->at);
	char *buf wfs_autofree =
		wfs_malloc((size_t)(CHUNK + WFS_LEARN_WINDOW) * e->size);
	uint64_t reach = wfs_index_reach(s->look->index);
	int rc = 0;

	reach = first + (reach > SCAN ? reach : SCAN);
	wfs_elements_close(&s->best.source);
	for (uint64_t at = first; at < wfs_least(e->count, reach) && !rc;
	     at += CHUNK) {
		uint64_t n =
			wfs_least(CHUNK + WFS_LEARN_WINDOW - 1, e->count - at);

		rc = wfs_elements_read(e, buf, at, n);
		for (uint64_t i = 0; i + WFS_LEARN_WINDOW <= n && !rc; i++) {
			struct wfs_index_place places[HITS];
			unsigned hits = wfs_index_find(s->look->index,
						       buf + i * e->size,
						       places, HITS);

			for (unsigned h = 0; h < 2 * hits && rc >= 0; h++) {
				int got = try_place(s, at + i, &places[h / 2],
						    h & 1);

				rc = got ? got : rc;
			}
		}
	}
	return rc;
}

/* Do lines agree `i` further along a dim? */
static int same_line(struct search *s, unsigned dim, uint64_t i, uint64_t width)
{
	const struct wfs_found_piece *p = &s->best.piece;
	uint64_t a[WFS_VIEW_DIMS], b[WFS_VIEW_DIMS];

	memcpy(a, s->at, sizeof(a));
	memcpy(b, p->start, sizeof(b));
	a[dim] += i;
	b[dim] += i;
	return same_run(s, &s->best.source, a, b, width);
}

/* How many elements are equal, ours from `a`, the source's from `b`. */
static int common(struct search *s, const uint64_t *a, const uint64_t *b,
		  uint64_t most, uint64_t *ret)
{
	uint64_t at[2][WFS_VIEW_DIMS], n = 0;
	unsigned last = s->e->ndim - 1u, size = s->e->size;

	memcpy(at[0], a, sizeof(at[0]));
	memcpy(at[1], b, sizeof(at[1]));
	while (n < most) {
		uint64_t some = wfs_least(LINE, most - n);
		int rc = same_run(s, &s->best.source, at[0], at[1], some);

		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < some; i++, n++)
			if (memcmp(s->ours + i * size, s->theirs + i * size,
				   size) != 0) {
				*ret = n;
				return 0;
			}
		at[0][last] += some;
		at[1][last] += some;
	}
	*ret = n;
	return 0;
}

/*
 * How far rows are alike: the least of a few, since the next element may be
 * equal by chance.  A row that is another from its first element on belongs
 * to another piece.
 */
static int measure_rows(struct search *s, uint64_t most, uint64_t *ret)
{
	const struct wfs_found_piece *p = &s->best.piece;
	unsigned last = s->e->ndim - 1u;
	uint64_t a[WFS_VIEW_DIMS], b[WFS_VIEW_DIMS], n = 0, other = 0;
	int rc;

	memcpy(a, s->at, sizeof(a));
	memcpy(b, p->start, sizeof(b));
	rc = common(s, a, b, most, &n);
	for (unsigned r = 1; last && r < ROWS && !rc; r++) {
		if (++a[last - 1] >= s->e->shape[last - 1] ||
		    ++b[last - 1] >= p->full[last - 1])
			break;
		rc = common(s, a, b, n, &other);
		if (!rc && other)
			n = other;
	}
	*ret = n;
	return rc;
}

/* How many lines of a dim are alike, from the first on. */
static int measure_lines(struct search *s, unsigned dim, uint64_t most,
			 uint64_t width, uint64_t *ret)
{
	uint64_t low = 0, high = most - 1;
	int rc = same_line(s, dim, high, width);

	while (!rc && high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		rc = same_line(s, dim, middle, width);
		if (rc < 0)
			return rc;
		if (rc)
			low = middle;
		else
			high = middle;
		rc = 0;
	}
	*ret = rc > 0 ? most : low + 1;
	return rc < 0 ? rc : 0;
}

/* The size of the box that begins at s->at. */
static int measure(struct search *s)
{
	struct wfs_found_piece *p = &s->best.piece;
	const struct wfs_elements *e = s->e;
	int rc = 0;

	for (unsigned d = e->ndim; d-- && !rc;) {
		uint64_t most = wfs_least(e->shape[d] - s->at[d],
					  p->full[d] - p->start[d]);

		if (d + 1 == e->ndim)
			rc = measure_rows(s, most, &p->len[d]);
		else
			rc = measure_lines(s, d, most, p->len[e->ndim - 1],
					   &p->len[d]);
		if (!rc && !p->len[d])
			rc = -EBADMSG;
	}
	return rc;
}

/* Only zeros from s->at on?  Looked at up to where the dim that has begun
   ends.  1, 0, or an error. */
static int is_zero(struct search *s)
{
	const struct wfs_elements *e = s->e;
	uint64_t at = wfs_elements_flat(e->shape, e->ndim, s->at), n = 1;
	int rc = 0;

	for (unsigned d = e->ndim; d--;) {
		n *= e->shape[d] - s->at[d];
		if (s->at[d])
			break;
	}
	for (uint64_t i = 0; i < n && !rc; i += LINE) {
		uint64_t some = wfs_least(LINE, n - i);

		rc = wfs_elements_read(e, s->ours, at + i, some);
		for (size_t b = 0; b < some * e->size && !rc; b++)
			rc = s->ours[b] ? 1 : 0;
	}
	return rc < 0 ? rc : !rc;
}

/*
 * Where a piece ends that goes on by chance as the tensor does is for the
 * next one to say: it begins where its tensor can be shared out.
 */
static int settle(struct search *s, struct wfs_found *f)
{
	struct wfs_found_piece *p = &s->best.piece;
	struct wfs_found_piece *before = &f->pieces[f->count - 1];
	uint64_t full = p->full[f->dim], tp = s->look->tp, shift;
	uint64_t a[WFS_VIEW_DIMS], b[WFS_VIEW_DIMS];
	int rc;

	if (p->start[f->dim] * tp % full == 0)
		return 0;
	shift = p->start[f->dim] - p->start[f->dim] * tp / full * full / tp;
	if (shift > SHIFT || shift >= before->len[f->dim])
		return 0;
	memcpy(a, s->at, sizeof(a));
	memcpy(b, p->start, sizeof(b));
	a[f->dim] -= shift;
	b[f->dim] -= shift;
	rc = same_run(s, &s->best.source, a, b,
		      f->dim + 1 == s->e->ndim ? shift : LINE);
	if (rc <= 0)
		return rc;
	memcpy(s->at, a, sizeof(a));
	memcpy(p->start, b, sizeof(b));
	before->len[f->dim] -= shift;
	return 0;
}

/* Adds the piece at s->at; 1 while there is more, 0 at the end. */
static int add_piece(struct search *s, struct wfs_found *f)
{
	const struct wfs_elements *e = s->e;
	struct wfs_found_piece *p = &s->best.piece;
	int dim = f->count ? (int)f->dim : -1;

	for (unsigned d = 0; d < e->ndim; d++)
		if (s->at[d] + p->len[d] < e->shape[d]) {
			if (dim >= 0 && dim != (int)d)
				return -EBADMSG;
			dim = (int)d;
		}
	if (f->count == WFS_LEARN_PIECES)
		return -EBADMSG;
	f->dim = dim < 0 ? 0 : (unsigned)dim;
	p->at = s->at[f->dim];
	f->pieces[f->count++] = *p;
	s->at[f->dim] += p->len[f->dim];
	return s->at[f->dim] < e->shape[f->dim];
}

static int take_apart(struct search *s, struct wfs_found *f)
{
	int rc;

	do {
		rc = is_zero(s);
		if (rc > 0) {
			s->best.piece =
				(struct wfs_found_piece){ .source = -1 };
			for (unsigned d = 0; d < s->e->ndim; d++)
				s->best.piece.len[d] =
					s->e->shape[d] - s->at[d];
			rc = add_piece(s, f);
			continue;
		}
		if (!rc)
			rc = find_piece(s);
		if (rc <= 0)
			return rc;
		if (f->count)
			rc = settle(s, f);
		rc = rc < 0 ? rc : measure(s);
		rc = rc ? rc : add_piece(s, f);
	} while (rc > 0);
	return rc ? rc : 1;
}

int wfs_learn_explain(const struct wfs_look *look, const struct wfs_elements *e,
		      struct wfs_found *ret)
{
	struct search s = { .look = look, .e = e };
	struct wfs_found f = { .ndim = e->ndim };
	int rc;

	if (!e->ndim || !e->count)
		return 0;
	s.ours = wfs_malloc((size_t)LINE * e->size);
	s.theirs = wfs_malloc((size_t)LINE * e->size);
	rc = take_apart(&s, &f);
	wfs_elements_close(&s.best.source);
	wfs_pool_clear(&s.pool);
	free(s.ours);
	free(s.theirs);
	if (rc > 0)
		*ret = f;
	return rc == -EBADMSG ? 0 : rc;
}
