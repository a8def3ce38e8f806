/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunk a lane takes next.
 *
 * Late chunks of other peers go first (a bounded lot: each is asked of two at
 * a time, and of yet another only after twice the wait each time), then what
 * somebody waits for, in the order in which it was wanted, then what is read
 * ahead.
 */
#include "transport/fetch/inner.h"

#define NEXT_FEW 64 /* chunks that are looked through for a better one */

/* Is there another one who could be asked for it, and was not? */
static bool another_may(const struct wfs_task *task,
			const struct wfs_peer *peer, uint64_t now)
{
	const struct wfs_far *far = task->batch->far;

	for (unsigned i = 0; i < far->holder_count; i++) {
		const struct wfs_holder *holder = &far->holders[i];

		if (holder->peer != peer &&
		    wfs_holder_has_locked(far, holder) &&
		    !wfs_bits_has(&task->tried, holder->peer->index) &&
		    wfs_peer_is_usable_locked(holder->peer, now))
			return true;
	}
	return false;
}

bool wfs_peer_is_missed_locked(const struct wfs_peer *peer, uint64_t now)
{
	const struct wfs_task *task = peer->fetch->wanted.head;

	for (; task; task = task->next)
		if (wfs_far_holder_locked(task->batch->far, peer) &&
		    !another_may(task, peer, now))
			return true;
	return false;
}

/*
 * Is it to be left to the faster way to the same bytes?  Not for longer than
 * that one usually takes, if it brings nothing: it may hang, or not connect.
 */
static bool is_for_faster(const struct wfs_peer *peer,
			  const struct wfs_task *task, uint64_t now,
			  uint64_t *until)
{
	const struct wfs_peer *faster = peer->faster;
	const struct wfs_holder *holder =
		faster ? wfs_far_holder_locked(task->batch->far, faster) : NULL;
	uint64_t end;

	if (!holder || holder->state != WFS_HOLDER_HAS ||
	    task->state != WFS_TASK_QUEUED ||
	    wfs_bits_has(&task->tried, faster->index) ||
	    !wfs_peer_is_usable_locked(faster, now))
		return false;
	end = task->queued_at > faster->delivered_at ? task->queued_at :
						       faster->delivered_at;
	end += wfs_peer_patience_locked(faster);
	if (end > now && end < *until)
		*until = end;
	return end > now;
}

bool wfs_peer_may_take_locked(const struct wfs_peer *peer,
			      const struct wfs_task *task, uint64_t now,
			      uint64_t *until)
{
	const struct wfs_holder *holder =
		wfs_far_holder_locked(task->batch->far, peer);

	if (!holder || !wfs_holder_has_locked(task->batch->far, holder) ||
	    is_for_faster(peer, task, now, until) ||
	    wfs_is_for_better_locked(task, peer, now, until))
		return false;
	if (!wfs_bits_has(&task->tried, peer->index))
		return true;
	if (another_may(task, peer, now))
		return false;
	if (task->retry_at > now) {
		if (task->retry_at < *until)
			*until = task->retry_at;
		return false;
	}
	return true;
}

/* When whoever was asked last has had enough time. */
static uint64_t late_at(const struct wfs_task *task)
{
	const struct wfs_lane *last = task->hedge ? task->hedge : task->owner;
	uint64_t after = wfs_peer_patience_locked(last->peer);

	if (!task->hedge)
		return task->asked_at + after;
	/* All may be slow: whoever is asked again has more time. */
	return task->hedged_at + (after << (1 + task->replaced));
}

/* Could this lane bring it, too, once it is late? */
static bool may_hedge(struct wfs_lane *lane, const struct wfs_task *task,
		      uint64_t now, uint64_t *until)
{
	const struct wfs_peer *peer = lane->peer;

	/* Taken or copied: somebody has the bytes.  A ring has no room aside. */
	return task->owner && task->to && !task->taken && !task->copying &&
	       task->owner->peer != peer &&
	       (!task->hedge || task->hedge->peer != peer) &&
	       !wfs_bits_has(&task->tried, peer->index) &&
	       wfs_peer_may_take_locked(peer, task, now, until);
}

/* The oldest chunk that is late at all who were asked. */
static struct wfs_task *find_late(struct wfs_lane *lane, uint64_t now,
				  uint64_t *until)
{
	struct wfs_task *task = lane->peer->fetch->asked.head;

	for (; task; task = task->next) {
		uint64_t late;

		if (!may_hedge(lane, task, now, until))
			continue;
		late = late_at(task);
		if (late <= now)
			return task;
		if (late < *until)
			*until = late;
	}
	return NULL;
}

/*
 * The first that it may take; but a lane goes on with the read that it has
 * begun, and begins one that no other lane is at, if such a chunk is among the
 * next few.  Two lanes in one read write to two halves of a huge page, each
 * behind the other's cache: bare receiving (tests/bench/bare.c) by stripes of
 * 1 MiB takes 1.2 times the CPU that it takes by stripes of 8.
 */
static struct wfs_task *find_in(struct wfs_lane *lane,
				const struct wfs_task_list *list, uint64_t now,
				uint64_t *until)
{
	struct wfs_task *task = list->head, *first = NULL, *fresh = NULL;

	for (unsigned i = 0; task && (i < NEXT_FEW || !first);
	     i++, task = task->next) {
		const struct wfs_lane *at = task->batch->lane;

		if ((first && at && at != lane) || (fresh && !at) ||
		    !wfs_lane_reaches_locked(lane, task) ||
		    !wfs_peer_may_take_locked(lane->peer, task, now, until))
			continue;
		if (at == lane)
			return task;
		if (!first)
			first = task;
		if (!at)
			fresh = task;
	}
	return fresh ? fresh : first;
}

static struct wfs_task *find_queued(struct wfs_lane *lane, uint64_t now,
				    uint64_t *until)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_task *task = find_in(lane, &fetch->wanted, now, until);

	return task ? task : find_in(lane, &fetch->ahead, now, until);
}

/* Lanes that wait for work and may be asked for it now. */
static unsigned idle_for(const struct wfs_task *task, uint64_t now)
{
	const struct wfs_far *far = task->batch->far;
	unsigned idle = 0;

	for (unsigned i = 0; i < far->holder_count; i++) {
		const struct wfs_peer *peer = far->holders[i].peer;
		uint64_t until = UINT64_MAX;

		if (peer->idle && wfs_peer_is_usable_locked(peer, now) &&
		    wfs_peer_may_take_locked(peer, task, now, &until))
			idle += peer->idle;
	}
	return idle;
}

/* Would other lanes do at once what is in the queue for this one? */
static bool is_for_idle(struct wfs_lane *lane, uint64_t now)
{
	const struct wfs_fetch *fetch = lane->peer->fetch;
	unsigned queued = fetch->wanted.n + fetch->ahead.n;
	uint64_t until = UINT64_MAX;
	const struct wfs_task *task;

	if (!queued || queued > fetch->idle)
		return !queued;
	task = find_queued(lane, now, &until);
	return !task || queued <= idle_for(task, now);
}

bool wfs_lane_pick_locked(struct wfs_lane *lane, bool look_only, uint64_t now,
			  uint64_t *ret_until)
{
	struct wfs_task *task;

	*ret_until = UINT64_MAX;
	/* A second one only where no other lane would do it at once. */
	if (lane->used == WFS_LANE_DEPTH ||
	    (lane->used && is_for_idle(lane, now)))
		return false;
	task = find_late(lane, now, ret_until);
	if (task) {
		if (!look_only)
			wfs_lane_take_locked(lane, task, true, now);
		return true;
	}
	task = find_queued(lane, now, ret_until);
	if (task && !look_only)
		wfs_lane_take_locked(lane, task, false, now);
	return task;
}
