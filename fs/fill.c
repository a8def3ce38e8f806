/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fill.h.  A filling that waits is held by the thread that fills and by
 * the notifier, which minds its deadline and its interrupts.  `phase` says who
 * answers: whoever moves it from WFS_FILLING_RESTS to WFS_FILLING_ANSWERED.
 */
#include "fs/fill.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/text.h"
#include "fs/fill_inner.h"
#include "fs/residence.h"

/* Copied by the session's thread, if it is in memory. */
#define AT_ONCE (64u << 10)

/* Of a file a share that is as much work as all of it. */
#define WORTH 4

static void put_slot(struct wfs_filling *f, struct wfs_slot **slot)
{
	if (*slot)
		wfs_slots_put(f->fs->slots, wfs_steal_ptr(slot));
}

static void free_filling(struct wfs_filling *f)
{
	if (f->pinned)
		wfs_store_release(f->fs->store, wfs_node_ino(&f->node));
	if (f->has_recipe)
		wfs_node_recipe_clear(&f->recipe);
	if (f->node.model)
		wfs_node_clear(&f->node);
	put_slot(f, &f->memory);
	put_slot(f, &f->event);
	put_slot(f, &f->ticket);
	wfs_closep(&f->bell);
	free(f);
}

static void unref(struct wfs_filling *f, int refs)
{
	if (atomic_fetch_sub(&f->refs, refs) == refs)
		free_filling(f);
}

void wfs_filling_get(struct wfs_filling *f)
{
	atomic_fetch_add(&f->refs, 1);
}

void wfs_filling_put(struct wfs_filling *f)
{
	unref(f, 1);
}

/* The outcome, to whoever waits for it.  Once. */
static void answer(struct wfs_filling *f, int status, uint32_t stage)
{
	struct weightfs_fill *fill = &f->fill;

	fill->head.status = status;
	fill->head.stage = status ? stage : WEIGHTFS_STAGE_NONE;
	fill->done = f->copy.done;
	fill->from_memory = f->copy.from_memory;
	fill->ns = wfs_now_ns() - f->began_ns;
	if (f->fed && !status)
		fill->head.flags |= WEIGHTFS_FILL_BY_RING;
	atomic_fetch_add(&f->fs->counters.fills, 1);
	atomic_fetch_add(&f->fs->counters.fill_bytes,
			 fill->done - f->done_before);
	atomic_fetch_add(&f->fs->counters.fill_errors, status != 0);
	if (f->req) {
		fuse_reply_ioctl(f->req, status, fill, sizeof(*fill));
		return;
	}
	f->ticket->outcome = (struct wfs_outcome){
		.status = status,
		.stage = fill->head.stage,
		.done = fill->done,
		.from_memory = fill->from_memory,
		.ns = fill->ns,
		.flags = fill->head.flags & WEIGHTFS_FILL_BY_RING,
	};
	put_slot(f, &f->ticket);
	if (f->event)
		wfs_ring(f->fs->ring, f->event->fd);
}

/* Is there a reason to go no further? */
static int why_stop(struct wfs_filling *f)
{
	int stop = atomic_load(&f->stop);

	if (!stop && f->memory && atomic_load(&f->memory->dead))
		stop = -ESRCH;
	return stop;
}

static bool begin_writing(struct wfs_copy *copy)
{
	struct wfs_filling *f =
		(struct wfs_filling *)((char *)copy -
				       offsetof(struct wfs_filling, copy));
	int resting = WFS_FILLING_RESTS;

	return !why_stop(f) && atomic_compare_exchange_strong(
				       &f->phase, &resting, WFS_FILLING_WRITES);
}

static void end_writing(struct wfs_copy *copy)
{
	struct wfs_filling *f =
		(struct wfs_filling *)((char *)copy -
				       offsetof(struct wfs_filling, copy));

	atomic_store(&f->phase, WFS_FILLING_RESTS);
}

/*
 * By who filled, if nobody did before: whoever hears of it finds the memory no
 * longer in use.
 */
static void end_filling(struct wfs_filling *f, int rc)
{
	int resting = WFS_FILLING_RESTS;

	put_slot(f, &f->memory);
	if (!atomic_compare_exchange_strong(&f->phase, &resting,
					    WFS_FILLING_ANSWERED))
		return;
	if (f->req)
		fuse_req_interrupt_func(f->req, NULL, NULL);
	answer(f, rc, f->copy.stage);
}

/* Overdue, or interrupted. */
static void overdue(struct wfs_deadline *deadline)
{
	struct wfs_filling *f =
		(struct wfs_filling *)((char *)deadline -
				       offsetof(struct wfs_filling, deadline));
	int why = atomic_load(&f->interrupted) ? -EINTR : -ETIMEDOUT;
	int resting = WFS_FILLING_RESTS;

	atomic_store(&f->stop, why);
	if (f->bell >= 0)
		eventfd_write(f->bell, 1);
	if (atomic_compare_exchange_strong(&f->phase, &resting,
					   WFS_FILLING_ANSWERED)) {
		if (f->req)
			fuse_req_interrupt_func(f->req, NULL, NULL);
		answer(f, why, WEIGHTFS_STAGE_FETCH);
	}
	unref(f, 1);
}

static void interrupted(fuse_req_t req, void *data)
{
	struct wfs_filling *f = data;

	(void)req;
	atomic_store(&f->interrupted, true);
	wfs_notifier_hurry(f->fs->notifier, &f->deadline);
}

/* A file that was rewritten meanwhile has filled nothing. */
static int check_again(struct wfs_filling *f)
{
	struct wfs_region *region = wfs_node_region(&f->node);
	int rc = 0;

	/* What is put together has no rewritten source in the arena. */
	if (region)
		rc = wfs_region_check(region);
	else if (f->fed)
		rc = wfs_recipe_check_sources(f->recipe.recipe);
	if (rc)
		f->copy.stage = WEIGHTFS_STAGE_VERIFY;
	return rc;
}

/*
 * Of what is not here yet and wanted for a good part, all is brought here
 * first, by all hands and for others too.  Where that cannot be it is read.
 */
static void bring(struct wfs_filling *f)
{
	uint64_t size = wfs_node_size(&f->node);

	if (!f->fs->store || f->copy.resident || why_stop(f) ||
	    wfs_copy_file(f->recipe.recipe) >= 0 ||
	    wfs_copy_bytes(f->fill.segment, f->fill.count) < size / WORTH)
		return;
	f->pinned = wfs_await_resident(f->fs, &f->node, f->recipe.recipe,
				       f->until_ns, NULL) > 0;
}

/*
 * The same for a device, which can have only what lies in one file, or is fed.
 * Before it writes: whoever waits here can be answered at any time.
 */
static int bring_for_device(struct wfs_filling *f)
{
	int rc = -EOPNOTSUPP; /* there is no arena */

	f->copy.stage = WEIGHTFS_STAGE_FETCH;
	if (!f->fs->config.device || wfs_copy_file(f->recipe.recipe) >= 0)
		return 0;
	if (f->fs->store)
		rc = wfs_await_resident(f->fs, &f->node, f->recipe.recipe,
					f->until_ns,
					f->bell >= 0 ? &f->bell : NULL);
	f->pinned = rc > 0;
	rc = rc > 0 ? 0 : wfs_ioctl_device_unfetched(rc);
	f->fed = rc == -ENOSPC;
	return f->fed ? 0 : rc;
}

static int copy_all(struct wfs_filling *f, void *room, size_t size)
{
	int rc;

	do {
		rc = why_stop(f);
		/* Before the first byte it says what overdue() would. */
		if (rc)
			f->copy.stage = f->copy.done > f->done_before ?
						WEIGHTFS_STAGE_COPY :
						WEIGHTFS_STAGE_FETCH;
		else
			rc = wfs_copy_step(&f->copy, room, size);
	} while (rc > 0);
	if (rc == -ECANCELED) {
		f->copy.stage = WEIGHTFS_STAGE_FETCH;
		rc = why_stop(f);
	}
	return rc ? rc : check_again(f);
}

static int write_device(struct wfs_filling *f, struct wfs_device_call call,
			const struct wfs_device_feed *feed)
{
	int rc;

	call.feed = feed;
	if (!begin_writing(&f->copy))
		return why_stop(f);
	rc = wfs_ioctl_device_fill(f->fs, &call, &f->fill);
	f->copy.done = f->fill.done;
	f->copy.stage = f->fill.head.stage;
	if (rc == -EINTR && atomic_load(&f->stop))
		rc = atomic_load(&f->stop);
	end_writing(&f->copy);
	return rc;
}

/* What need not come to this host goes past it; -ENOTSUP: it has to. */
static int land_on_device(struct wfs_filling *f,
			  const struct wfs_device_call *call)
{
	const struct wfs_device_feed feed = { .read = wfs_fill_feed,
					      .ctx = f,
					      .land = wfs_fill_land,
					      .land_only = true };
	int rc;

	if (!f->fs->config.device || !wfs_fill_may_land(f) ||
	    wfs_node_residency(f->fs, &f->node).resident)
		return -ENOTSUP;
	f->fed = true;
	rc = write_device(f, *call, &feed);
	if (rc == -ENOTSUP)
		f->fed = false;
	return rc;
}

static int bring_to_device(struct wfs_filling *f,
			   const struct wfs_device_call *call)
{
	const struct wfs_device_feed feed = { .read = wfs_fill_feed, .ctx = f };
	int rc = bring_for_device(f);

	if (rc)
		return rc;
	return write_device(f, *call, f->fed ? &feed : NULL);
}

/* Written from the first to the last: the device is told when to stop. */
static int fill_device(struct wfs_filling *f)
{
	const struct wfs_device_call call = {
		.caller = f->caller,
		.node = &f->node,
		.recipe = f->recipe.recipe,
		.slot = f->memory,
		.until_ns = f->until_ns,
		.stop = f->bell >= 0 ? &f->bell : NULL,
	};
	int rc = land_on_device(f, &call);

	if (rc == -ENOTSUP)
		rc = bring_to_device(f, &call);
	return rc ? rc : check_again(f);
}

static void run(struct wfs_work *work, void *room)
{
	struct wfs_filling *f = (struct wfs_filling *)work;
	int refs = 1;
	int rc;

	if (f->fill.memory == WEIGHTFS_MEMORY_HOST) {
		bring(f);
		rc = copy_all(f, room, WFS_WORK_ROOM);
	} else {
		rc = fill_device(f);
	}
	end_filling(f, rc);
	if (wfs_notifier_drop(f->fs->notifier, &f->deadline))
		refs++;
	unref(f, refs);
}

/* Of what is short and in memory there is nothing to wait for. */
static bool fill_at_once(struct wfs_filling *f)
{
	char *room wfs_autofree = NULL;

	if (!f->copy.resident || f->ticket || !f->memory->target.map ||
	    wfs_copy_bytes(f->fill.segment, f->fill.count) > AT_ONCE)
		return false;
	room = wfs_malloc(AT_ONCE);
	end_filling(f, copy_all(f, room, AT_ONCE));
	free_filling(f);
	return true;
}

static void begin_waiting(struct wfs_filling *f)
{
	f->work.run = run;
	f->deadline.fire = overdue;
	f->deadline.at_ns = f->until_ns;
	atomic_store(&f->refs, 2);
	/* Without one it goes on to its end. */
	if (f->fill.memory != WEIGHTFS_MEMORY_HOST)
		f->bell = eventfd(0, EFD_CLOEXEC);
	if (f->ticket)
		fuse_reply_ioctl(wfs_steal_ptr(&f->req), 0, &f->fill,
				 sizeof(f->fill));
	else
		fuse_req_interrupt_func(f->req, interrupted, f);
	wfs_notifier_add(f->fs->notifier, &f->deadline);
	wfs_workers_queue(f->fs->fillers, &f->work);
}

void wfs_fill(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
	      const struct weightfs_fill *fill)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct wfs_filling *f = wfs_calloc(1, sizeof(*f));
	int rc;

	f->fs = fs;
	f->req = req;
	f->bell = -1;
	f->began_ns = wfs_now_ns();
	f->caller = (struct wfs_device_caller){ .pid = ctx->pid,
						.uid = ctx->uid,
						.gid = ctx->gid };
	f->until_ns = wfs_ioctl_deadline(fill->timeout_ns);
	f->fill = *fill;
	f->fill.ticket = 0;
	f->copy = (struct wfs_copy){ .fs = fs,
				     .begin = begin_writing,
				     .end = end_writing,
				     .done = fill->done };
	f->done_before = fill->done;
	rc = wfs_fill_prepare(f, id);
	if (rc) {
		end_filling(f, rc);
		free_filling(f);
	} else if (!fill_at_once(f)) {
		begin_waiting(f);
	}
}
