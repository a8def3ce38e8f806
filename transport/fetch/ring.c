/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks for device memory: who may bring them, and when nobody does.
 *
 * Their bytes are never seen here, so they count as they come, and nobody has
 * a place to bring a second copy of one to.  Whoever waits for one is told as
 * soon as no lane is left for it: there is the way by memory.
 */
#include <errno.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "transport/fetch/inner.h"

bool wfs_lane_reaches_locked(const struct wfs_lane *lane,
			     const struct wfs_task *task)
{
	const struct wfs_peer *peer = lane->peer;

	if (task->to)
		return true;
	/* Each is asked once.  How it is to be reached shows when it is. */
	return peer->ops->reaches && !wfs_bits_has(&task->tried, peer->index) &&
	       (!lane->conn ||
		peer->ops->reaches(lane->conn, task->batch->landing->ring));
}

static bool may_come_locked(const struct wfs_task *task, uint64_t now)
{
	const struct wfs_far *far = task->batch->far;

	for (unsigned i = 0; i < far->holder_count; i++) {
		const struct wfs_peer *peer = far->holders[i].peer;

		if (!wfs_holder_has_locked(far, &far->holders[i]) ||
		    !wfs_peer_is_usable_locked(peer, now))
			continue;
		for (unsigned k = 0; k < peer->lane_count; k++)
			if (wfs_lane_reaches_locked(&peer->lanes[k], task))
				return true;
	}
	return false;
}

int wfs_batch_why_not_locked(const struct wfs_batch *batch,
			     const struct wfs_task *tasks, unsigned n,
			     uint64_t *until)
{
	const struct wfs_landing *landing = batch->landing;
	uint64_t now = wfs_now_ns();
	int why = wfs_landing_why_stop(landing);

	if (landing->deadline_ns)
		*until = wfs_least(*until, landing->deadline_ns);
	for (unsigned i = 0; i < n && !why; i++)
		if (tasks[i].state == WFS_TASK_QUEUED &&
		    !may_come_locked(&tasks[i], now))
			why = -ENOTSUP;
	return why;
}

void wfs_rings_look_locked(struct wfs_fetch *fetch)
{
	if (fetch->landings)
		wfs_fetch_wake_readers_locked(fetch, NULL);
}

void wfs_rings_look(void *ctx)
{
	struct wfs_fetch *fetch = ctx;

	pthread_mutex_lock(&fetch->lock);
	wfs_rings_look_locked(fetch);
	pthread_mutex_unlock(&fetch->lock);
}

static int land(struct wfs_far *far, struct wfs_landing *landing, size_t len,
		uint64_t off, bool *ret_torn)
{
	uint64_t at = landing->at;
	int rc = 0;

	while (len && !rc) {
		struct wfs_task tasks[WFS_BATCH_MAX] = { 0 };
		struct wfs_batch batch = { .far = far, .landing = landing };
		unsigned n = 0;

		for (; len && n < WFS_BATCH_MAX; n++) {
			uint32_t skip = off % WFS_CHUNK;
			uint32_t part =
				(uint32_t)wfs_least(WFS_CHUNK - skip, len);

			tasks[n] = (struct wfs_task){ .index = off / WFS_CHUNK,
						      .ring_at = at,
						      .skip = skip,
						      .len = part };
			at += part;
			off += part;
			len -= part;
		}
		rc = wfs_batch_run(&batch, tasks, n);
		*ret_torn = batch.torn;
	}
	return rc;
}

/*
 * Bytes of two epochs: its other ways know whether the one that is wanted is
 * over.  If it is not it goes on.
 */
static int look_aside(struct wfs_far *far, uint64_t off)
{
	uint8_t byte;

	return wfs_far_read(far, &byte, sizeof(byte), off);
}

int wfs_far_land(struct wfs_far *far, struct wfs_landing *landing, size_t len,
		 uint64_t off)
{
	bool torn = false;
	int rc;

	if (wfs_far_is_trusted(far))
		return -ENOTSUP;
	rc = land(far, landing, len, off, &torn);
	if (rc != -ENOTSUP || !torn)
		return rc;
	rc = look_aside(far, off);
	return rc ? rc : land(far, landing, len, off, &torn);
}
