/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See copy.h.
 */
#include "fs/copy.h"

#include <errno.h>
#include <string.h>

#include "core/base/least.h"
#include "core/device.h"
#include "fs/read.h"
#include "fs/state.h"

/* From the arena: long copies go past the caches, a third faster. */
#define STEP (256ull << 20)
/* From a local file, where the kernel copies. */
#define STRAIGHT (64ull << 20)
/* What a thread copies at a time, of what several do. */
#define PART (2ull << 20)

/* Runs that are copied at once: `span` bytes of the file from `file_off`. */
struct batch {
	uint64_t file_off, dst_off, span;
	struct wfs_runs runs;
};

_Static_assert(sizeof(struct weightfs_segment) ==
		       sizeof(struct wfs_device_segment),
	       "segments are what devices are given");

/* Runs that follow each other on both sides are one. */
static struct weightfs_segment whole(const struct weightfs_segment *s)
{
	struct weightfs_segment one = *s;

	if (s->count > 1 && s->file_stride == s->len &&
	    s->dst_stride == s->len) {
		one.len *= one.count;
		one.count = 1;
	}
	return one;
}

uint64_t wfs_copy_bytes(const struct weightfs_segment *segments, uint32_t count)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++)
		bytes += segments[i].len * segments[i].count;
	return bytes;
}

int wfs_copy_check(const struct weightfs_segment *segments, uint32_t count,
		   uint64_t file_bytes, uint64_t memory_bytes, uint64_t done)
{
	struct wfs_device_segment of_device[WFS_DEVICE_SEGMENTS];
	uint64_t bytes = 0, more;
	int rc;

	if (count > WFS_DEVICE_SEGMENTS)
		return -EINVAL;
	memcpy(of_device, segments, count * sizeof(*segments));
	rc = wfs_device_segments_check(of_device, count, file_bytes,
				       memory_bytes, NULL);
	/* Each is within the memory, all together may overflow. */
	for (uint32_t i = 0; !rc && i < count; i++) {
		more = segments[i].len * segments[i].count;
		if (__builtin_add_overflow(bytes, more, &bytes))
			rc = -EINVAL;
	}
	return rc ? rc : done > bytes ? -EINVAL : 0;
}

/* What comes after `done` bytes, up to `limit`; false: nothing. */
static bool next_batch(const struct wfs_copy *c, uint64_t limit,
		       struct batch *ret)
{
	uint64_t at = c->done, run, within, runs;

	for (unsigned i = 0; i < c->count; i++) {
		struct weightfs_segment s = whole(&c->segments[i]);

		if (!s.len || at >= s.len * s.count) {
			at -= s.len * s.count;
			continue;
		}
		run = at / s.len;
		within = at % s.len;
		runs = s.count - run;
		if (within || s.len > limit)
			runs = 1;
		else if (s.file_stride && runs > 1)
			runs = wfs_least(runs,
					 (limit - s.len) / s.file_stride + 1);
		runs = wfs_least(runs, wfs_most(limit / s.len, 1));
		*ret = (struct batch){
			.file_off = s.file_off + run * s.file_stride + within,
			.dst_off = s.dst_off + run * s.dst_stride + within,
			.runs = { .len = s.len - within,
				  .count = runs,
				  .stride = s.file_stride,
				  .dst_stride = s.dst_stride },
		};
		ret->runs.len = wfs_least(ret->runs.len, limit);
		ret->span = (runs - 1) * s.file_stride + ret->runs.len;
		return true;
	}
	return false;
}

/* A batch in parts, for as many threads as there are. */
struct parts {
	const struct wfs_copy *copy;
	const struct batch *batch;
	const char *from; /* NULL: read from `fd` */
	int fd;
	uint64_t fd_off;
	uint64_t each; /* runs; or bytes, of a single one */
	atomic_int rc;
};

static void copy_part(void *ctx, unsigned i)
{
	struct parts *p = ctx;
	uint64_t at = i * p->each, off = p->batch->dst_off, from = 0;
	struct wfs_runs runs = p->batch->runs;
	int none = 0, rc;

	if (atomic_load(&p->rc))
		return;
	if (runs.count == 1) {
		runs.len = wfs_least(runs.len - at, p->each);
		off += at;
		from = at;
	} else {
		runs.count = wfs_least(runs.count - at, p->each);
		off += at * runs.dst_stride;
		from = at * runs.stride;
	}
	rc = p->from ? wfs_target_write(p->copy->target, off, p->from + from,
					&runs) :
		       wfs_target_read(p->copy->target, off, p->fd, runs.len,
				       p->fd_off + from);
	if (rc)
		atomic_compare_exchange_strong(&p->rc, &none, rc);
}

static int copy_parts(struct parts *p)
{
	const struct wfs_runs *runs = &p->batch->runs;
	uint64_t all = runs->count == 1 ? runs->len : runs->count;

	p->each = runs->count == 1 ? PART : wfs_most(PART / runs->len, 1);
	wfs_workers_share(p->copy->fs->fillers,
			  (unsigned)((all + p->each - 1) / p->each), copy_part,
			  p);
	return atomic_load(&p->rc);
}

/* A batch that is being written. */
struct writing {
	struct wfs_copy *copy;
	const struct batch *batch;
	bool in_memory;
	int rc;
};

static int begin(struct wfs_copy *c)
{
	return !c->begin || c->begin(c) ? 0 : -ECANCELED;
}

static void end(struct wfs_copy *c, const struct batch *b, bool in_memory)
{
	uint64_t bytes = b->runs.len * b->runs.count;

	c->done += bytes;
	if (in_memory)
		c->from_memory += bytes;
	if (c->end)
		c->end(c);
}

/* As the store wants it: may be given less only at the file's end. */
static void write_batch(void *ctx, const void *bytes, size_t len)
{
	struct writing *w = ctx;
	struct wfs_copy *c = w->copy;
	const struct batch *b = w->batch;

	if (len < b->span) {
		c->stage = WEIGHTFS_STAGE_FETCH;
		w->rc = -EIO;
		return;
	}
	w->rc = begin(c);
	if (w->rc)
		return;
	w->rc = copy_parts(
		&(struct parts){ .copy = c, .batch = b, .from = bytes });
	if (w->rc)
		c->stage = WEIGHTFS_STAGE_MAP;
	end(c, w->rc ? &(struct batch){ 0 } : b, w->in_memory);
}

int wfs_copy_file(const struct wfs_recipe *recipe)
{
	const struct wfs_piece *piece = recipe->pieces;

	if (recipe->n != 1 || recipe->ends || piece->kind != WFS_PIECE_REGION ||
	    piece->count != 1 || piece->cast)
		return -ENOTSUP;
	return wfs_region_descriptor(piece->region);
}

/* What a source may say; all else is EIO, and was logged. */
static int fetch_error(struct wfs_copy *c, int rc)
{
	c->stage = WEIGHTFS_STAGE_FETCH;
	return rc == -ESTALE || rc == -EBADMSG || rc == -EHOSTUNREACH ||
			       rc == -ETIMEDOUT ?
		       rc :
		       -EIO;
}

/* Straight from a file to where it belongs: the kernel's copy, no other. */
static int read_straight(struct wfs_copy *c, struct batch *b, int fd)
{
	const struct wfs_piece *piece = c->recipe->pieces;
	int rc;

	b->runs.len = wfs_least(b->runs.len, STRAIGHT);
	if (atomic_load(&piece->region->stale))
		return fetch_error(c, -ESTALE);
	rc = begin(c);
	if (rc)
		return rc;
	rc = copy_parts(&(struct parts){ .copy = c,
					 .batch = b,
					 .fd = fd,
					 .fd_off = piece->off + b->file_off });
	end(c, rc ? &(struct batch){ 0 } : b, false);
	if (!rc) {
		wfs_region_count(piece->region, b->runs.len);
		return 0;
	}
	if (rc == -EFAULT) {
		c->stage = WEIGHTFS_STAGE_MAP;
		return rc;
	}
	/* It ends before: it is not the file that was listed. */
	rc = rc == -ENODATA ? -ESTALE : rc;
	wfs_region_note_failure(piece->region, rc);
	return fetch_error(c, rc);
}

static int read_through(struct wfs_copy *c, void *buf, size_t room)
{
	struct batch b;
	struct writing w = { .copy = c, .batch = &b, .in_memory = c->resident };
	ssize_t n;

	if (!next_batch(c, room, &b))
		return 0;
	n = wfs_read_bytes(c->fs, c->node, c->recipe, buf, (size_t)b.span,
			   b.file_off);
	if (n < 0)
		return fetch_error(c, (int)n);
	write_batch(&w, buf, (size_t)n);
	if (!w.rc && !c->resident)
		wfs_intent_note_read(c->fs->intent, c->fs, c->node, (size_t)n);
	return w.rc;
}

int wfs_copy_step(struct wfs_copy *c, void *buf, size_t room)
{
	struct batch b;
	struct writing w = { .copy = c, .batch = &b, .in_memory = true };
	struct wfs_use use = { .with = write_batch, .ctx = &w };
	int fd = wfs_copy_file(c->recipe);
	int rc;

	if (!next_batch(c, STEP, &b))
		return 0;
	rc = wfs_target_check(c->target);
	if (rc) {
		c->stage = WEIGHTFS_STAGE_MAP;
		return rc;
	}
	if (c->fs->store && wfs_store_use(c->fs->store, wfs_node_ino(c->node),
					  b.span, b.file_off, &use))
		rc = w.rc;
	else if (fd >= 0 && c->target->map && b.runs.count == 1)
		rc = read_straight(c, &b, fd);
	else
		rc = read_through(c, buf, room);
	return rc ? rc : c->done < wfs_copy_bytes(c->segments, c->count);
}
