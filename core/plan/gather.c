/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathering.  Short runs of a file that can be mapped are copied out of a
 * mapping.  Of others, those that lie close together are read by one call,
 * with the gaps between them, because bytes that nobody wants cost less than
 * another call.  Where the source has a descriptor the gaps go to a junk
 * buffer that stays in the first-level cache and the runs straight to where
 * they belong; elsewhere a whole span is read and the runs are copied out of
 * it.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "core/base/text.h"
#include "core/plan/gather.h"
#include "core/plan/mapped.h"

/*
 * A gap up to this is read along: copying it takes a microsecond at memory
 * speed, about what another system call takes.
 */
#define GAP_BYTES (8u * 1024)

/* A gap up to this does not keep runs of one chunk apart. */
#define HELD_GAP (64u * 1024)

/* Parts of one vectored read, the gaps included. */
#define PARTS 512

/*
 * Runs that lie closer together are copied out of a span faster than the
 * kernel finds the next buffer.
 */
#define VECTOR_STRIDE 512

/*
 * Short runs that lie close together are copied out of a mapping (mapped.c)
 * wherever there can be one, and what follows is for where there is none.
 * Of the page cache each rank takes its own runs: the kernel has read each
 * byte once for all of them, and nothing is counted twice.  (A probe beside
 * this code, on a machine busy with other work: runs of 2 KiB, each fourth
 * wanted, in CPU time against a memcpy of as many bytes into fresh huge pages:
 * read one by one 4.8 times as much; mapped 1.8 times where the page cache has
 * large folios, and between 2.5 and 3 where it seemed to have small ones.  Half
 * of that was faults, which windows that stay (core/store/windows.h) leave to
 * the first rank: 36 ms of CPU for a rank's row files became 23.)
 *
 * Where other ranks want the gaps, runs of this and more are read one by one:
 * of a page cache that costs what reading three times as much does, and each
 * byte is read once on this node.  Shorter ones come from the chunk cache:
 * read once by the first rank, they are copied by all.  (Runs of 1, 2, 4, 8
 * KiB, each fourth wanted, against a memcpy of as many bytes: one by one
 * 0.12, 0.20, 0.27, 0.34; with their gaps 0.23, 0.29, 0.25, 0.23; whole
 * chunks 0.12 … 0.15 for one rank, 0.3 if four share them.)
 */
#define SHORT_RUN (2u * 1024)

struct batch {
	const struct wfs_from *from;
	bool vectored;
	char *span; /* WFS_TILE_BYTES, made when needed */
	uint64_t start, end;
	int n;
	struct iovec parts[PARTS];
	char junk[GAP_BYTES];
};

static int flush_span(struct batch *b)
{
	uint64_t pos = 0;
	int rc;

	if (!b->span)
		b->span = wfs_malloc(WFS_TILE_BYTES);
	rc = wfs_region_read_exactly(b->from->region, b->span,
				     (size_t)(b->end - b->start), b->start);
	for (int i = 0; i < b->n && !rc; i++) {
		const struct iovec *part = &b->parts[i];

		if (part->iov_base != b->junk)
			memcpy(part->iov_base, b->span + pos, part->iov_len);
		pos += part->iov_len;
	}
	return rc;
}

static int flush(struct batch *b)
{
	int rc;

	if (!b->n)
		return 0;
	if (b->n == 1)
		rc = wfs_region_read_exactly(b->from->region,
					     b->parts[0].iov_base,
					     b->parts[0].iov_len, b->start);
	else if (b->vectored)
		rc = wfs_region_readv(b->from->region, b->parts, b->n,
				      b->start);
	else
		rc = flush_span(b);
	b->n = 0;
	return rc;
}

static bool joins(const struct batch *b, uint64_t off, uint64_t len)
{
	return b->n && b->n + 2 <= PARTS && off >= b->end &&
	       off - b->end <= b->from->gap &&
	       (b->vectored || off + len - b->start <= WFS_TILE_BYTES);
}

static int add_run(struct batch *b, uint64_t off, uint64_t len, char *to)
{
	int rc = 0;

	if (!joins(b, off, len)) {
		rc = flush(b);
		b->start = off;
	} else if (off > b->end) {
		b->parts[b->n].iov_base = b->junk;
		b->parts[b->n++].iov_len = (size_t)(off - b->end);
	}
	b->parts[b->n].iov_base = to;
	b->parts[b->n++].iov_len = (size_t)len;
	b->end = off + len;
	return rc;
}

struct wfs_from wfs_from_piece(const struct wfs_piece *piece,
			       const struct wfs_nest *nest)
{
	enum wfs_cast cast = (enum wfs_cast)piece->cast;
	struct wfs_from from = { .gap = GAP_BYTES };
	struct wfs_chunks *chunks;
	bool far, cut_short;

	if (piece->kind != WFS_PIECE_REGION)
		return from;
	from.region = piece->region;
	from.mapped = piece->same <= 1;
	chunks = from.region->source->chunks;
	if (!chunks)
		return from;
	far = wfs_region_descriptor(from.region) < 0;
	cut_short = piece->around > 1 &&
		    wfs_nest_stretch(nest, cast) < SHORT_RUN;
	if (far || cut_short || piece->same > 1)
		from.chunks = chunks;
	if (piece->around > 1 && !cut_short)
		from.gap = 0;
	from.want.files = piece->same > 1 ? piece->same : 1;
	if ((far || cut_short) && piece->around > from.want.files)
		from.want.files = piece->around;
	from.want.lo = nest->off;
	from.want.hi = nest->off + wfs_nest_reach(nest, cast);
	return from;
}

/*
 * How far a chunk is held from `off` in a run that begins at `start` and is
 * followed by `left - 1` more: to its end or, if they lie close, to that of
 * the last one and the gap behind it, so that reads that follow each other
 * leave nothing out.
 */
static uint64_t hold_end(const struct wfs_from *from,
			 const struct wfs_nest *nest, uint64_t start,
			 uint64_t left, uint64_t off)
{
	uint64_t stride = nest->loops[nest->n - 1].stride;
	uint64_t chunk_end = (off / WFS_CHUNK_BYTES + 1) * WFS_CHUNK_BYTES;
	uint64_t end = start + nest->run;

	if (stride - nest->run <= HELD_GAP)
		end = start + left * stride;
	if (end > from->want.hi)
		end = from->want.hi;
	return end < chunk_end ? end : chunk_end;
}

/* Runs copied out of chunks. */
static int gather_cached(const struct wfs_from *from,
			 const struct wfs_nest *nest, char *to)
{
	const struct wfs_loop *last = &nest->loops[nest->n - 1];
	struct wfs_chunk_ref ref = { 0 };
	struct wfs_odometer o = { 0 };
	int rc = 0;

	do {
		uint64_t left = last->count - o.at[nest->n - 1];
		uint64_t start = nest->off + o.stride, off = start;
		uint64_t len = nest->run, end;
		char *at = to + o.step;

		while (len && !rc) {
			if (!ref.data || off < ref.off ||
			    off >= ref.off + ref.len) {
				if (ref.data)
					wfs_chunk_put(from->chunks, &ref);
				end = hold_end(from, nest, start, left, off);
				rc = wfs_chunk_get(from->chunks, from->region,
						   &from->want, off, end - off,
						   &ref);
				continue;
			}
			end = ref.off + ref.len - off;
			if (end > len)
				end = len;
			memcpy(at, ref.data + (off - ref.off), (size_t)end);
			at += end;
			off += end;
			len -= end;
		}
	} while (!rc && wfs_odometer_next(&o, nest->loops, nest->n));
	if (ref.data)
		wfs_chunk_put(from->chunks, &ref);
	return rc;
}

int wfs_gather(const struct wfs_from *from, const struct wfs_nest *nest,
	       char *to)
{
	struct wfs_region *region = from->region;
	struct wfs_odometer o = { 0 };
	struct batch b;
	int rc = -ENOTSUP;

	if (from->mapped)
		rc = wfs_gather_mapped(region, nest, to);
	if (!rc)
		return 0;
	to += nest->at;
	if (from->chunks && nest->n)
		return gather_cached(from, nest, to);
	if (from->chunks)
		return wfs_chunks_read(from->chunks, region, &from->want, to,
				       (size_t)nest->run, nest->off);
	if (!nest->n)
		return wfs_region_read_exactly(region, to, (size_t)nest->run,
					       nest->off);
	b.from = from;
	b.vectored = nest->loops[nest->n - 1].stride >= VECTOR_STRIDE &&
		     wfs_region_descriptor(region) >= 0;
	b.span = NULL;
	b.n = 0;
	b.start = b.end = 0;
	do
		rc = add_run(&b, nest->off + o.stride, nest->run, to + o.step);
	while (!rc && wfs_odometer_next(&o, nest->loops, nest->n));
	if (!rc)
		rc = flush(&b);
	free(b.span);
	return rc;
}
