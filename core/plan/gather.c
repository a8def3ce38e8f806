/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathering: runs that lie close together are read by one call, with the
 * gaps between them, because bytes that nobody wants cost less than another
 * call.  Where the source has a descriptor the gaps go to a junk buffer that
 * stays in the first-level cache and the runs straight to where they belong;
 * elsewhere a whole span is read and the runs are copied out of it.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "core/base/text.h"
#include "core/plan/gather.h"

/*
 * A gap up to this is read along: copying it takes a microsecond at memory
 * speed, about what another system call takes.
 */
#define GAP_BYTES (8u * 1024)

/* Parts of one vectored read, the gaps included. */
#define PARTS 512

/*
 * Runs that lie closer together are copied out of a span faster than the
 * kernel finds the next buffer.
 */
#define VECTOR_STRIDE 512

struct batch {
	struct wfs_region *region;
	bool vectored;
	char *span; /* WFS_TILE_BYTES, made when needed */
	uint64_t start, end;
	int n;
	struct iovec parts[PARTS];
	char junk[GAP_BYTES];
};

bool wfs_odometer_next(struct wfs_odometer *o, const struct wfs_loop *loops,
		       unsigned n)
{
	while (n--) {
		const struct wfs_loop *loop = &loops[n];

		if (++o->at[n] < loop->count) {
			o->stride += loop->stride;
			o->step += loop->step;
			return true;
		}
		o->at[n] = 0;
		o->stride -= (loop->count - 1) * loop->stride;
		o->step -= (loop->count - 1) * loop->step;
	}
	return false;
}

/* All of it or a negative errno: the recipe promised that it is there. */
static int read_exactly(struct wfs_region *region, void *buf, size_t len,
			uint64_t off)
{
	ssize_t got = wfs_region_read(region, buf, len, off);

	if (got < 0)
		return (int)got;
	return (size_t)got == len ? 0 : -EIO;
}

static int flush_span(struct batch *b)
{
	uint64_t pos = 0;
	int rc;

	if (!b->span)
		b->span = wfs_malloc(WFS_TILE_BYTES);
	rc = read_exactly(b->region, b->span, (size_t)(b->end - b->start),
			  b->start);
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
		rc = read_exactly(b->region, b->parts[0].iov_base,
				  b->parts[0].iov_len, b->start);
	else if (b->vectored)
		rc = wfs_region_readv(b->region, b->parts, b->n, b->start);
	else
		rc = flush_span(b);
	b->n = 0;
	return rc;
}

static bool joins(const struct batch *b, uint64_t off, uint64_t len)
{
	return b->n && b->n + 2 <= PARTS && off >= b->end &&
	       off - b->end <= GAP_BYTES &&
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

int wfs_gather(struct wfs_region *region, const struct wfs_nest *nest, char *to)
{
	struct wfs_odometer o = { 0 };
	struct batch b;
	int rc;

	to += nest->at;
	if (!nest->n)
		return read_exactly(region, to, (size_t)nest->run, nest->off);
	b.region = region;
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
