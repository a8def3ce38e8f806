/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers.  What is read is cut into chunks; those that a read wants whole go
 * straight to its memory, the others through a chunk of the reader's own.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/source.h"
#include "transport/fetch/inner.h"

/* When the batch is given up unless something happens before. */
static uint64_t deadline_locked(const struct wfs_batch *batch,
				const struct wfs_task *tasks, unsigned n)
{
	const struct wfs_fetch *fetch = batch->far->fetch;
	uint64_t since = batch->progress;
	bool tried = false;

	for (unsigned i = 0; i < n; i++)
		tried |= tasks[i].state <= WFS_TASK_ASKED &&
			 wfs_bits_any(&tasks[i].tried);
	/* It may only stand in line behind others, who get theirs. */
	if (!tried && fetch->progress > since)
		since = fetch->progress;
	return since + fetch->config.deadline_ns;
}

static bool has_holder(const struct wfs_far *far)
{
	for (unsigned i = 0; i < far->holder_count; i++)
		if (far->holders[i].state == WFS_HOLDER_HAS)
			return true;
	return false;
}

/* Why they were not had by the deadline. */
static int why_not_locked(const struct wfs_far *far,
			  const struct wfs_task *tasks, unsigned n)
{
	bool wrong = false;

	for (unsigned i = 0; i < n; i++)
		wrong |= tasks[i].state <= WFS_TASK_ASKED && tasks[i].wrong;
	for (unsigned i = 0; i < far->holder_count && !wrong; i++) {
		const struct wfs_holder *holder = &far->holders[i];

		if (wfs_holder_has_locked(far, holder) && !holder->peer->lied &&
		    !holder->peer->failures)
			return -EIO;
	}
	/* Who is not asked since it was wrong before is wrong still. */
	for (unsigned i = 0; i < far->holder_count; i++) {
		const struct wfs_holder *holder = &far->holders[i];

		wrong |= holder->state == WFS_HOLDER_WRONG ||
			 (holder->peer->lied &&
			  wfs_holder_has_locked(far, holder));
	}
	return wrong ? -EBADMSG : -EHOSTUNREACH;
}

/* Until it is told; the lock is not held meanwhile. */
static void sleep_locked(struct wfs_batch *batch, uint64_t until)
{
	struct wfs_fetch *fetch = batch->far->fetch;
	bool told;

	pthread_mutex_unlock(&fetch->lock);
	told = wfs_sem_wait_until(&batch->changed, until);
	pthread_mutex_lock(&fetch->lock);
	batch->told -= told;
}

/* Waits until all are done, or will not be. */
static int wait_locked(struct wfs_batch *batch, struct wfs_task *tasks,
		       unsigned n)
{
	struct wfs_far *far = batch->far;
	struct wfs_fetch *fetch = far->fetch;

	while (batch->left && !batch->error) {
		uint64_t end = deadline_locked(batch, tasks, n), until = end;

		if (atomic_load(&fetch->closing))
			batch->error = -ESHUTDOWN;
		else if (far->ended ||
			 (!has_holder(far) && wfs_far_is_stale_locked(far)))
			batch->error = -ESTALE;
		else if (batch->landing)
			batch->error = wfs_batch_why_not_locked(batch, tasks, n,
								&until);
		if (batch->error)
			break;
		if (wfs_now_ns() >= end)
			batch->error = why_not_locked(far, tasks, n);
		else
			sleep_locked(batch, until);
	}
	if (batch->error)
		for (unsigned i = 0; i < n; i++)
			if (tasks[i].state <= WFS_TASK_ASKED)
				wfs_task_recall_locked(fetch, &tasks[i]);
	/* Who is about to tell us needs the batch until then. */
	while (batch->told)
		sleep_locked(batch, UINT64_MAX);
	return batch->error;
}

int wfs_batch_run(struct wfs_batch *batch, struct wfs_task *tasks, unsigned n)
{
	struct wfs_fetch *fetch = batch->far->fetch;
	bool ahead = wfs_reading_ahead();
	int rc;

	sem_init(&batch->changed, 0, 0);
	batch->left = n;
	pthread_mutex_lock(&fetch->lock);
	batch->progress = wfs_now_ns();
	fetch->landings += batch->landing != NULL;
	for (unsigned i = 0; i < n; i++) {
		tasks[i].batch = batch;
		tasks[i].ahead = ahead;
		wfs_task_queue_locked(fetch, &tasks[i], false, batch->progress);
	}
	wfs_task_offer_locked(&tasks[n - 1]);
	rc = wait_locked(batch, tasks, n);
	fetch->landings -= batch->landing != NULL;
	pthread_mutex_unlock(&fetch->lock);
	sem_destroy(&batch->changed);
	for (unsigned i = 0; i < n; i++)
		wfs_bits_clear(&tasks[i].tried);
	return rc;
}

static void wake_locked(const struct wfs_task_list *list,
			const struct wfs_far *far)
{
	for (struct wfs_task *task = list->head; task; task = task->next)
		if (!far || task->batch->far == far)
			wfs_batch_wake_locked(task->batch);
}

void wfs_fetch_wake_readers_locked(struct wfs_fetch *fetch,
				   const struct wfs_far *far)
{
	wake_locked(&fetch->wanted, far);
	wake_locked(&fetch->ahead, far);
	wake_locked(&fetch->asked, far);
}

void wfs_far_end(struct wfs_far *far)
{
	pthread_mutex_lock(&far->fetch->lock);
	far->ended = true;
	wfs_fetch_wake_readers_locked(far->fetch, far);
	pthread_mutex_unlock(&far->fetch->lock);
}

/* Where a chunk that is not wanted whole goes first. */
struct edge {
	uint8_t *bytes;
	void *to;
	size_t from, len;
};

int wfs_far_read(struct wfs_far *far, void *buf, size_t len, uint64_t off)
{
	uint8_t *to = buf;
	int rc = 0;

	while (len && !rc) {
		struct wfs_task tasks[WFS_BATCH_MAX] = { 0 };
		struct wfs_batch batch = { .far = far };
		struct edge edges[2] = { 0 };
		unsigned n = 0, edge_count = 0;

		for (; len && n < WFS_BATCH_MAX; n++) {
			uint64_t index = off / WFS_CHUNK;
			size_t from = off % WFS_CHUNK;
			uint32_t whole = wfs_chunk_len(far->size, index);
			size_t part = whole - from < len ? whole - from : len;
			void *dest = to;

			if (part < whole) {
				struct edge *e = &edges[edge_count++];

				*e = (struct edge){ wfs_malloc(whole), to, from,
						    part };
				dest = e->bytes;
			}
			tasks[n] = (struct wfs_task){ .index = index,
						      .to = dest,
						      .len = whole };
			to += part;
			off += part;
			len -= part;
		}
		rc = wfs_batch_run(&batch, tasks, n);
		for (unsigned i = 0; i < edge_count; i++) {
			if (!rc)
				memcpy(edges[i].to,
				       edges[i].bytes + edges[i].from,
				       edges[i].len);
			free(edges[i].bytes);
		}
	}
	return rc;
}
