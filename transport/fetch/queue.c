/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunk a lane takes next, and what becomes of it.
 *
 * Late chunks of other peers go first (a bounded lot: each is asked of two at
 * a time, and of yet another only after twice the wait each time), then what
 * somebody waits for, in the order in which it was wanted, then what is read
 * ahead.
 */
#include <errno.h>

#include "core/base/mem.h"
#include "transport/fetch/inner.h"

#define NEXT_FEW 64 /* chunks that are looked through for a better one */

static void list_add(struct wfs_task_list *list, struct wfs_task *task,
		     bool front)
{
	task->prev = front ? NULL : list->tail;
	task->next = front ? list->head : NULL;
	if (task->prev)
		task->prev->next = task;
	else
		list->head = task;
	if (task->next)
		task->next->prev = task;
	else
		list->tail = task;
	list->n++;
}

static void list_remove(struct wfs_task_list *list, struct wfs_task *task)
{
	if (task->prev)
		task->prev->next = task->next;
	else
		list->head = task->next;
	if (task->next)
		task->next->prev = task->prev;
	else
		list->tail = task->prev;
	task->prev = task->next = NULL;
	list->n--;
}

static struct wfs_task_list *list_of(struct wfs_fetch *fetch,
				     const struct wfs_task *task)
{
	if (task->state == WFS_TASK_ASKED)
		return &fetch->asked;
	return task->ahead ? &fetch->ahead : &fetch->wanted;
}

void wfs_task_queue_locked(struct wfs_fetch *fetch, struct wfs_task *task,
			   bool front)
{
	task->state = WFS_TASK_QUEUED;
	task->queued_at = wfs_now_ns();
	list_add(list_of(fetch, task), task, front);
}

struct wfs_holder *wfs_far_holder_locked(struct wfs_far *far,
					 const struct wfs_peer *peer)
{
	unsigned from = 0, to = far->holder_count;

	while (from < to) {
		unsigned mid = from + (to - from) / 2;

		if (far->holders[mid].peer == peer)
			return &far->holders[mid];
		if (far->holders[mid].peer->index < peer->index)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

bool wfs_far_is_stale_locked(const struct wfs_far *far)
{
	bool stale = false;

	for (unsigned i = 0; i < far->holder_count; i++) {
		const struct wfs_holder *holder = &far->holders[i];

		/* What a doubted one lacks says nothing of this version. */
		if (holder->peer->ops->doubted ?
			    wfs_holder_has_locked(far, holder) :
			    holder->state != WFS_HOLDER_STALE)
			return false;
		stale |= !holder->peer->ops->doubted;
	}
	return stale;
}

static void disown(struct wfs_lane *lane, const struct wfs_task *task)
{
	for (unsigned i = 0; lane && i < lane->used; i++)
		if (lane->slots[i].task == task)
			lane->slots[i].task = NULL;
}

static void leave(struct wfs_task *task, enum wfs_task_state state)
{
	struct wfs_batch *batch = task->batch;

	list_remove(list_of(batch->far->fetch, task), task);
	disown(task->owner, task);
	disown(task->hedge, task);
	task->owner = task->hedge = NULL;
	task->state = state;
}

void wfs_task_done_locked(struct wfs_task *task)
{
	struct wfs_batch *batch = task->batch;

	leave(task, WFS_TASK_DONE);
	batch->progress = wfs_now_ns();
	batch->far->fetch->progress = batch->progress;
	/* Its reader has nothing to do before: one wake-up, not one a chunk. */
	if (--batch->left == 0)
		pthread_cond_signal(&batch->changed);
}

void wfs_task_fail_locked(struct wfs_task *task, int error)
{
	leave(task, WFS_TASK_FAILED);
	if (!task->batch->error)
		task->batch->error = error;
	pthread_cond_signal(&task->batch->changed);
}

void wfs_lane_interrupt_locked(struct wfs_lane *lane, struct wfs_task *task)
{
	task->taken = true;
	if (task->copying || !lane->conn)
		return; /* it will be done at once */
	lane->stopped = true;
	lane->peer->ops->stop(lane->conn);
}

void wfs_task_recall_locked(struct wfs_fetch *fetch, struct wfs_task *task)
{
	while (task->writer) {
		struct wfs_lane *writer = task->writer;

		wfs_lane_interrupt_locked(writer, task);
		pthread_cond_wait(&fetch->landed, &fetch->lock);
	}
	if (task->state <= WFS_TASK_ASKED)
		wfs_task_fail_locked(task, -ECANCELED);
}

void wfs_task_return_locked(struct wfs_lane *lane, struct wfs_slot *slot,
			    bool blame)
{
	struct wfs_task *task = slot->task;
	struct wfs_fetch *fetch = lane->peer->fetch;

	if (!task)
		return;
	slot->task = NULL;
	if (task->writer == lane) {
		task->writer = NULL;
		pthread_cond_broadcast(&fetch->landed);
	}
	if (blame)
		wfs_bits_add(&task->tried, lane->peer->index);
	if (task->hedge == lane) {
		task->hedge = NULL;
	} else {
		/* Whoever was asked as well has it to itself now. */
		task->owner = task->hedge;
		task->hedge = NULL;
		task->asked_at = wfs_now_ns();
	}
	if (task->owner || task->taken)
		return; /* somebody else brings it, or takes it away */
	list_remove(&fetch->asked, task);
	if (wfs_far_is_stale_locked(task->batch->far)) {
		list_add(&fetch->asked, task, true);
		wfs_task_fail_locked(task, -ESTALE);
		return;
	}
	wfs_task_queue_locked(fetch, task, true);
	pthread_cond_broadcast(&fetch->work);
}

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

static bool may_take(struct wfs_lane *lane, const struct wfs_task *task,
		     uint64_t now, uint64_t *until)
{
	struct wfs_peer *peer = lane->peer;
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

	/* Taken or copied: somebody has the bytes. */
	return task->owner && !task->taken && !task->copying &&
	       task->owner->peer != peer &&
	       (!task->hedge || task->hedge->peer != peer) &&
	       !wfs_bits_has(&task->tried, peer->index) &&
	       may_take(lane, task, now, until);
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
		    !may_take(lane, task, now, until))
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

static void take(struct wfs_lane *lane, struct wfs_task *task, bool hedge,
		 uint64_t now)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_slot *slot = &lane->slots[lane->used++];

	*slot = (struct wfs_slot){
		.task = task,
		.asked_at = now,
		.len = task->len,
		.tag = ++lane->tag,
		.hedge = hedge,
	};
	wfs_peer_owes_locked(lane->peer, false);
	if (hedge) {
		task->replaced += task->hedge != NULL;
		disown(task->hedge, task); /* its answer is for nobody */
		task->hedge = lane;
		task->hedged_at = now;
		lane->peer->hedges++;
		return;
	}
	list_remove(list_of(fetch, task), task);
	task->state = WFS_TASK_ASKED;
	task->batch->lane = lane;
	task->owner = lane;
	task->asked_at = now;
	task->replaced = 0;
	/* After a round of all who may be asked there is a pause. */
	task->retry_at = now + fetch->config.retry_ns;
	list_add(&fetch->asked, task, false);
}

bool wfs_lane_pick_locked(struct wfs_lane *lane, bool look_only,
			  uint64_t *ret_until)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	uint64_t now = wfs_now_ns();
	struct wfs_task *task;

	*ret_until = UINT64_MAX;
	/* A second one only where no other lane would do it at once. */
	if (lane->used == WFS_LANE_DEPTH ||
	    (lane->used && fetch->wanted.n + fetch->ahead.n <= fetch->idle))
		return false;
	task = find_late(lane, now, ret_until);
	if (task) {
		if (!look_only)
			take(lane, task, true, now);
		return true;
	}
	task = find_queued(lane, now, ret_until);
	if (task && !look_only)
		take(lane, task, false, now);
	return task;
}
