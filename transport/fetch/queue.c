/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a chunk: queued, asked for, returned, done or failed.
 */
#include <errno.h>

#include "core/base/mem.h"
#include "transport/fetch/inner.h"

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
			   bool front, uint64_t now)
{
	task->state = WFS_TASK_QUEUED;
	task->queued_at = now;
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

struct wfs_batch *wfs_task_done_locked(struct wfs_task *task, uint64_t now)
{
	struct wfs_batch *batch = task->batch;

	leave(task, WFS_TASK_DONE);
	batch->progress = now;
	batch->far->fetch->progress = now;
	/* Its reader has nothing to do before: one wake-up, not one a chunk. */
	if (--batch->left)
		return NULL;
	batch->told++;
	return batch;
}

void wfs_batch_wake_locked(struct wfs_batch *batch)
{
	batch->told++;
	wfs_batch_tell(batch);
}

void wfs_batch_tell(struct wfs_batch *batch)
{
	if (batch)
		sem_post(&batch->changed);
}

void wfs_task_fail_locked(struct wfs_task *task, int error)
{
	leave(task, WFS_TASK_FAILED);
	if (!task->batch->error)
		task->batch->error = error;
	wfs_batch_wake_locked(task->batch);
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
	wfs_task_queue_locked(fetch, task, true, wfs_now_ns());
	wfs_task_offer_locked(task);
	wfs_rings_look_locked(fetch);
}

void wfs_lane_take_locked(struct wfs_lane *lane, struct wfs_task *task,
			  bool hedge, uint64_t now)
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
	wfs_peer_owes_locked(lane->peer, false, now);
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
