/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a window of a piece.
 *
 * What lies whole inside the window is taken as boxes, which may be read in
 * the order that suits the source; at its ends runs are cut.  A box of long
 * runs goes straight to the reader's buffer.  One of single elements, or of
 * elements that are cast, is done in tiles that fit the cache: read as they
 * lie at the source, written as they lie in the file.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/gather.h"
#include "core/plan/nest.h"
#include "core/plan/tile.h"

/* Shorter runs are moved by tiles. */
#define LONG_RUN 64

struct window {
	const struct wfs_piece *piece;
	const struct wfs_nest *nest;
	struct wfs_from from;
	uint64_t lo, hi; /* of the file */
	char *buf;	 /* where `lo` goes */
	char *tile;	 /* WFS_TILES_BYTES, made when needed */
};

/* `len` bytes from `pos` of a pattern. */
static void fill(const struct wfs_piece *p, uint64_t pos, char *to, size_t len)
{
	size_t done = 0;

	if (p->kind == WFS_PIECE_ZERO) {
		memset(to, 0, len);
		return;
	}
	while (done < len && done < p->pattern_len) {
		to[done] = (char)p->pattern[(pos + done) % p->pattern_len];
		done++;
	}
	/* Twice as much each time, whole patterns. */
	while (done < len) {
		size_t more = done < len - done ? done : len - done;

		if (more > WFS_TILE_BYTES)
			more = WFS_TILE_BYTES / p->pattern_len * p->pattern_len;
		memcpy(to + done, to, more);
		done += more;
	}
}

static char *tile_of(struct window *w)
{
	if (!w->tile)
		w->tile = wfs_malloc(WFS_TILES_BYTES);
	return w->tile;
}

/* Whole elements, cast. */
static int cast_run(struct window *w, uint64_t off, char *to, uint64_t len)
{
	enum wfs_cast cast = (enum wfs_cast)w->piece->cast;
	uint64_t most = WFS_TILE_BYTES / wfs_cast_from(cast);
	char *tile = tile_of(w);

	for (uint64_t left = len / wfs_cast_to(cast); left;) {
		uint64_t n = left < most ? left : most;
		uint64_t bytes = n * wfs_cast_from(cast);
		struct wfs_nest run = { .off = off, .run = bytes };
		int rc = wfs_gather(&w->from, &run, tile);

		if (rc)
			return rc;
		wfs_cast_run(cast, to, tile, (size_t)n);
		off += bytes;
		to += n * wfs_cast_to(cast);
		left -= n;
	}
	return 0;
}

/* The bytes [from, to) of one cast element at `off`. */
static int cast_part(struct window *w, uint64_t off, char *out, unsigned from,
		     unsigned to)
{
	char whole[8];
	int rc = cast_run(w, off, whole, wfs_cast_to(w->piece->cast));

	if (!rc)
		memcpy(out, whole + from, to - from);
	return rc;
}

/* The bytes [a, b) of a run that starts at `off`, elements cut or not. */
static int cast_cut(struct window *w, uint64_t off, char *out, uint64_t a,
		    uint64_t b)
{
	unsigned width = wfs_cast_to(w->piece->cast);
	unsigned from = wfs_cast_from(w->piece->cast);
	uint64_t first = a / width;
	unsigned cut = (unsigned)(a % width);
	uint64_t end;
	int rc = 0;

	if (cut) {
		end = (first + 1) * width < b ? (first + 1) * width : b;
		rc = cast_part(w, off + first * from, out, cut,
			       (unsigned)(end - first * width));
		out += end - a;
		a = end;
		first++;
	}
	if (rc || a >= b)
		return rc;
	end = b / width;
	if (end > first)
		rc = cast_run(w, off + first * from, out,
			      (end - first) * width);
	if (!rc && b % width)
		rc = cast_part(w, off + end * from, out + end * width - a, 0,
			       (unsigned)(b % width));
	return rc;
}

/* The bytes of one run, at `off` and `at`, that are in the window. */
static int read_run(struct window *w, uint64_t off, uint64_t at)
{
	uint64_t a = w->lo > at ? w->lo - at : 0;
	uint64_t b = w->hi - at < w->nest->run ? w->hi - at : w->nest->run;
	char *to = w->buf + (at + a - w->lo);
	struct wfs_nest run = { .off = off + a, .run = b - a };

	if (w->piece->kind != WFS_PIECE_REGION) {
		fill(w->piece, at + a - w->nest->at, to, (size_t)(b - a));
		return 0;
	}
	if (w->piece->cast)
		return cast_cut(w, off, to, a, b);
	return wfs_gather(&w->from, &run, to);
}

/* The largest stride first. */
static void sort_by_stride(struct wfs_nest *box)
{
	for (unsigned i = 1; i < box->n; i++) {
		struct wfs_loop loop = box->loops[i];
		unsigned k = i;

		for (; k && box->loops[k - 1].stride < loop.stride; k--)
			box->loops[k] = box->loops[k - 1];
		box->loops[k] = loop;
	}
}

static int runs_one_by_one(struct window *w, const struct wfs_nest *box)
{
	struct wfs_odometer o = { 0 };
	int rc;

	do
		rc = read_run(w, box->off + o.stride, box->at + o.step);
	while (!rc && wfs_odometer_next(&o, box->loops, box->n));
	return rc;
}

/* A box that lies in the window whole; `at` is the file's. */
static int read_box(struct window *w, struct wfs_nest *box)
{
	enum wfs_cast cast = (enum wfs_cast)w->piece->cast;
	uint64_t source;

	if (w->piece->kind != WFS_PIECE_REGION || !box->n)
		return runs_one_by_one(w, box);
	source = wfs_cast_source(cast, box->run);
	if (cast && source > WFS_TILE_BYTES / 2)
		return runs_one_by_one(w, box);
	sort_by_stride(box);
	box->at -= w->lo;
	if (cast || box->run < LONG_RUN)
		return wfs_tiles_read(&w->from, cast, box, w->buf, tile_of(w));
	return wfs_gather(&w->from, box, w->buf);
}

static int read_level(struct window *w, unsigned level, uint64_t off,
		      uint64_t at);

/* Times [from, to) of loop `level`, whole. */
static int read_whole(struct window *w, unsigned level, uint64_t off,
		      uint64_t at, const uint64_t times[2])
{
	const struct wfs_nest *nest = w->nest;
	const struct wfs_loop *loop = &nest->loops[level];
	struct wfs_nest box = { .run = nest->run };

	if (times[0] >= times[1])
		return 0;
	box.off = off + times[0] * loop->stride;
	box.at = at + times[0] * loop->step;
	if (times[1] - times[0] > 1) {
		box.loops[box.n] = *loop;
		box.loops[box.n++].count = times[1] - times[0];
	}
	for (unsigned i = level + 1; i < nest->n; i++)
		box.loops[box.n++] = nest->loops[i];
	return read_box(w, &box);
}

static int read_cut(struct window *w, unsigned level, uint64_t off, uint64_t at,
		    const uint64_t times[2])
{
	const struct wfs_loop *loop = &w->nest->loops[level];
	int rc = 0;

	for (uint64_t i = times[0]; i < times[1] && !rc; i++)
		rc = read_level(w, level + 1, off + i * loop->stride,
				at + i * loop->step);
	return rc;
}

/* Those times of a loop that the window cuts, and those that it does not. */
static int read_loop(struct window *w, unsigned level, uint64_t off,
		     uint64_t at)
{
	const struct wfs_loop *loop = &w->nest->loops[level];
	uint64_t inner = wfs_nest_extent(w->nest, level + 1);
	uint64_t all[2] = { 0, loop->count }, whole[2] = { 0, 0 };
	int rc;

	if (w->lo >= at + inner)
		all[0] = (w->lo - at - inner) / loop->step + 1;
	if ((w->hi - at - 1) / loop->step + 1 < all[1])
		all[1] = (w->hi - at - 1) / loop->step + 1;
	if (all[0] >= all[1])
		return 0;
	if (w->lo > at)
		whole[0] = (w->lo - at - 1) / loop->step + 1;
	if (w->hi >= at + inner)
		whole[1] = (w->hi - at - inner) / loop->step + 1;
	if (whole[1] > loop->count)
		whole[1] = loop->count;
	if (whole[0] >= whole[1])
		return read_cut(w, level, off, at, all);
	rc = read_cut(w, level, off, at, (uint64_t[2]){ all[0], whole[0] });
	if (!rc)
		rc = read_whole(w, level, off, at, whole);
	if (!rc)
		rc = read_cut(w, level, off, at,
			      (uint64_t[2]){ whole[1], all[1] });
	return rc;
}

/* What loop `level` and those inside it have in the window. */
static int read_level(struct window *w, unsigned level, uint64_t off,
		      uint64_t at)
{
	if (w->hi <= at || w->lo >= at + wfs_nest_extent(w->nest, level))
		return 0;
	if (level < w->nest->n)
		return read_loop(w, level, off, at);
	return read_run(w, off, at);
}

int wfs_piece_read(const struct wfs_piece *piece, const struct wfs_nest *nest,
		   char *buf, uint64_t lo, uint64_t hi)
{
	struct window w = {
		.piece = piece,
		.nest = nest,
		.from = wfs_from_piece(piece, nest),
		.lo = lo,
		.hi = hi,
		.buf = buf,
	};
	int rc = read_level(&w, 0, nest->off, nest->at);

	free(w.tile);
	return rc;
}
