/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills that are fed: bytes are read into one slot of a ring while the device
 * copies from those before.  The helper is asked slot by slot and free for
 * others in between, so that a source that is slow holds up nobody else.
 */
#include <errno.h>
#include <string.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "transport/cuda/inner.h"

#define SLOT WFS_GPU_FEED_BYTES
/* Less than this is left of a slot: a run begins in the next one. */
#define REST (64u << 10)
/* Bytes between runs that are rather read than left out. */
#define GAP (64u << 10)

/* What comes next: of a segment a run, and where in it. */
struct place {
	size_t segment;
	uint64_t run, within;
	uint64_t bytes; /* so far */
};

/* One fill on its way. */
struct feeding {
	struct wfs_cuda_device *dev;
	struct wfs_gpu_helper *helper;
	const struct wfs_device_fill *fill;
	struct wfs_gpu_talk *talk;
	struct wfs_device_fault *fault, rest; /* the latter: told to nobody */
	struct wfs_err *err;
	struct wfs_gpu_room *room;	/* NULL: not needed yet */
	struct wfs_gpu_landing landing; /* the slot that bytes land in now */
	bool reads;			/* through the room, from now on */
	unsigned life;			/* of the helper */
	uint64_t fed;
	struct place next;
};

/* Whose bytes RDMA brings to the device's own memory, as long as it can. */
static bool lands(const struct feeding *f)
{
	return f->landing.ring && !f->reads;
}

static int ask(struct feeding *f, struct wfs_gpu_request *request,
	       struct wfs_gpu_fds fds)
{
	int rc;

	request->fed = f->fed;
	f->talk->ask = request;
	f->talk->fds = fds;
	rc = wfs_gpu_ask_when_ready(f->dev, f->helper, f->talk, f->fault,
				    f->err);
	return rc ? rc :
		    wfs_gpu_answer_result(&f->talk->answer, f->fault, f->err);
}

static const struct wfs_gpu_fds no_fds = { -1, -1 };

/*
 * Whatever became of it: nothing is written for the fill from now on.  Where
 * the helper cannot be asked in time, not since others have it busy either, it
 * has to go.
 */
static int finish(struct feeding *f)
{
	struct wfs_gpu_request request = { .op = WFS_GPU_FINISH };
	int rc;

	f->talk->gone = NULL;
	f->talk->stop = NULL;
	f->talk->deadline_ns = wfs_now_ns() + WFS_GPU_TIDY_NS;
	rc = ask(f, &request, no_fds);
	if (rc)
		wfs_gpu_helper_fell(f->dev, f->helper, f->life);
	return rc;
}

/* The helper has the ring mapped, the one that lives now. */
static int attach(struct feeding *f)
{
	struct wfs_gpu_request request = { .op = WFS_GPU_RING };
	int rc = 0;

	if (!f->room)
		rc = wfs_gpu_room_get(f->dev, f->helper, &f->room);
	if (rc)
		return wfs_gpu_say(f->fault, WFS_DEVICE_STAGE_DEVICE, f->err,
				   rc, "no ring can be had");
	request.ring = f->room->id;
	if (f->room->starts != f->life)
		rc = ask(f, &request, (struct wfs_gpu_fds){ f->room->fd, -1 });
	if (!rc)
		f->room->starts = f->life;
	return rc;
}

/* Runs that are read at once, with what is between them. */
static bool is_close(const struct wfs_device_segment *s)
{
	return s->count > 1 &&
	       (s->file_stride <= s->len || s->file_stride - s->len <= GAP);
}

/*
 * What comes next and goes into `room` bytes, from the start of its segment
 * on: in *ret as the helper wants it, from offset 0.  The bytes of the file
 * that it takes, 0: none.
 */
static uint64_t next_piece(const struct feeding *f, uint64_t room,
			   struct wfs_device_segment *ret, uint64_t *ret_off)
{
	const struct place *next = &f->next;
	const struct wfs_device_segment *s = &f->fill->segments[next->segment];
	uint64_t runs = 1, left = s->len - next->within;

	if (room < REST && left > room)
		return 0;
	if (!next->within && left <= room && is_close(s)) {
		runs = wfs_least(s->count - next->run, room / s->len);
		if (s->file_stride)
			runs = wfs_least(runs,
					 (room - s->len) / s->file_stride + 1);
	}
	*ret_off = s->file_off + next->run * s->file_stride + next->within;
	*ret = (struct wfs_device_segment){
		.dst_off =
			s->dst_off + next->run * s->dst_stride + next->within,
		.len = wfs_least(left, room),
		.file_stride = s->file_stride,
		.dst_stride = s->dst_stride,
		.count = runs,
	};
	return (runs - 1) * s->file_stride + ret->len;
}

static void advance(struct feeding *f, const struct wfs_device_segment *piece)
{
	struct place *next = &f->next;
	const struct wfs_device_segment *s = &f->fill->segments[next->segment];

	next->bytes += piece->len * piece->count;
	next->within += piece->len;
	if (next->within < s->len)
		return;
	next->within = 0;
	next->run += piece->count;
	if (next->run < s->count)
		return;
	next->run = 0;
	next->segment++;
}

/* `rc` as a feed says it. */
static int say_unfetched(const struct feeding *f, int rc)
{
	return rc ? wfs_gpu_say(f->fault, WFS_DEVICE_STAGE_FETCH, f->err, rc,
				"the file's bytes cannot be had") :
		    0;
}

/* -ENOTSUP is told to nobody: it is read then. */
static int land_piece(struct feeding *f, uint64_t at, uint64_t off,
		      uint64_t len, const struct wfs_device_patience *patience)
{
	const struct wfs_device_feed *feed = f->fill->feed;
	int rc = feed->land(feed->ctx, f->landing.ring, at, off, len, patience);

	f->reads = rc == -ENOTSUP;
	if (rc == -ECANCELED)
		return wfs_gpu_say(f->fault, WFS_DEVICE_STAGE_COPY, f->err,
				   -EIO, "the helper ended");
	return f->reads ? rc : say_unfetched(f, rc);
}

static int read_piece(struct feeding *f, uint64_t at, uint64_t off,
		      uint64_t len)
{
	const struct wfs_device_patience patience = {
		.until_ns = f->fill->deadline_ns,
		.ends = { *f->talk->gone, f->fill->stop ? *f->fill->stop : -1 },
	};
	const struct wfs_device_feed *feed = f->fill->feed;

	if (lands(f))
		return land_piece(f, at, off, len, &patience);
	return say_unfetched(f,
			     feed->read(feed->ctx, &f->room->base,
					f->room->at + at, off, len, &patience));
}

/* As much as goes into a slot. */
static int feed_slot(struct feeding *f, unsigned slot)
{
	struct wfs_gpu_request request = { .op = WFS_GPU_FEED,
					   .ring = lands(f) ? f->landing.id :
							      f->room->id,
					   .slot = slot };
	uint64_t used = 0, span, off;
	uint32_t n = 0;
	int rc = 0;

	while (!rc && n < WFS_DEVICE_SEGMENTS &&
	       f->next.segment < f->fill->segment_count) {
		struct wfs_device_segment *piece = &request.segments[n];

		span = next_piece(f, SLOT - used, piece, &off);
		if (!span)
			break;
		piece->file_off = (uint64_t)slot * SLOT + used;
		rc = read_piece(f, piece->file_off, off, span);
		advance(f, piece);
		used += span;
		n++;
	}
	request.segment_count = n;
	return rc ? rc : ask(f, &request, no_fds);
}

/* Of a turn of the ring; -ENOTSUP, and f->reads, where that cannot be. */
static int land_turn(struct feeding *f)
{
	const struct wfs_gpu_patience patience = {
		.deadline_ns = f->fill->deadline_ns,
		.ends = { *f->talk->gone, f->fill->stop ? *f->fill->stop : -1 },
	};
	int rc = wfs_gpu_landing_get(f->dev, f->helper, f->life, &patience,
				     &f->landing);

	f->reads = rc == -ENOTSUP;
	if (rc)
		return f->reads ? rc : say_unfetched(f, rc);
	rc = feed_slot(f, f->landing.slot);
	wfs_gpu_landing_put(f->dev, f->helper, f->life, &f->landing, !rc);
	return rc;
}

/* A slot that does not land is read, and so is all after it. */
static int land_slot(struct feeding *f)
{
	const struct place before = f->next;
	int rc = land_turn(f);

	if (!f->reads)
		return rc;
	f->next = before;
	if (!f->next.bytes && f->fill->feed->land_only)
		return rc;
	return attach(f);
}

static int feed_all(struct feeding *f)
{
	unsigned slot = 0;
	int rc = 0;

	f->reads = !f->fill->feed->land;
	if (f->reads)
		rc = attach(f);
	while (!rc && f->next.segment < f->fill->segment_count) {
		if (!f->reads) {
			rc = land_slot(f);
			continue;
		}
		rc = feed_slot(f, slot);
		slot = (slot + 1) % WFS_GPU_FEED_SLOTS;
	}
	return rc;
}

static int feed_through(struct feeding *f)
{
	int rc;

	f->talk->life = &f->life;
	rc = ask(f, f->talk->ask, f->talk->fds);
	if (rc)
		return rc;
	rc = feed_all(f);
	if (!rc)
		return finish(f);
	/* What it failed with is told, not what became of the rest. */
	f->fault = &f->rest;
	f->err = NULL;
	finish(f);
	return rc;
}

int wfs_gpu_fill_fed(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		     const struct wfs_device_fill *fill,
		     struct wfs_gpu_talk *talk, struct wfs_device_fault *fault,
		     struct wfs_err *err)
{
	struct feeding f = { .dev = dev,
			     .helper = helper,
			     .fill = fill,
			     .talk = talk,
			     .fault = fault,
			     .err = err };
	int rc;

	pthread_mutex_lock(&dev->lock);
	f.fed = dev->next_id++;
	pthread_mutex_unlock(&dev->lock);
	rc = feed_through(&f);
	if (f.room)
		wfs_gpu_room_put(dev, helper, f.room);
	talk->answer.bytes = f.next.bytes;
	talk->answer.path = WFS_DEVICE_PATH_RING;
	return rc;
}
