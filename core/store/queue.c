/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: which is next, and how long until one is done.
 *
 * What somebody waits for goes first, in the order in which it was wanted;
 * prefetches fill the rest of the time, but never all threads, so that a
 * source that hangs does not keep the others from what is wanted.
 */
#include <stdlib.h>

#include "core/base/text.h"
#include "core/digest/digests.h"
#include "core/store/inner.h"

#define SAMPLE_NS  20000000ull
#define SAMPLE_MIN (1ull << 20) /* bytes; less says little */

/*
 * A file that is one stretch of a region far away is cut where the region's
 * chunks are, or both sides of every cut would fetch the chunk that it is in.
 */
static uint32_t skew_of(const struct wfs_recipe *recipe)
{
	const struct wfs_piece *piece = recipe->pieces;

	if (recipe->n != 1 || !wfs_piece_is_plain(piece))
		return 0;
	return (uint32_t)(piece->off % WFS_CHUNK);
}

struct wfs_job *wfs_job_new(struct wfs_object *object,
			    struct wfs_recipe *recipe)
{
	uint32_t skew = skew_of(recipe);
	uint64_t spans = (recipe->size + skew + WFS_SPAN - 1) / WFS_SPAN;
	struct wfs_job *job;

	if (!spans)
		spans = 1;
	job = wfs_calloc(1, sizeof(*job) + spans * sizeof(job->done[0]));
	job->object = object;
	job->recipe = recipe;
	job->waiters_end = &job->waiters;
	job->phase = WFS_JOB_NEW;
	job->fd = -1;
	job->left = recipe->size + WFS_FILE_WORK;
	job->spans = (uint32_t)spans;
	job->skew = skew;
	return job;
}

uint64_t wfs_job_span_start(const struct wfs_job *job, uint32_t span)
{
	uint64_t start = span * WFS_SPAN;

	if (!span)
		return 0;
	return start - job->skew < job->recipe->size ? start - job->skew :
						       job->recipe->size;
}

void wfs_job_free(struct wfs_job *job)
{
	wfs_recipe_free(job->recipe);
	wfs_holdings_free(job->empty);
	free(job);
}

void wfs_job_wait_locked(struct wfs_job *job, struct wfs_waiter *waiter)
{
	waiter->next = NULL;
	*job->waiters_end = waiter;
	job->waiters_end = &waiter->next;
	job->waiting++;
}

bool wfs_job_cancel_locked(struct wfs_job *job, struct wfs_waiter *waiter)
{
	struct wfs_waiter **at = &job->waiters;

	while (*at && *at != waiter)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = waiter->next;
	if (job->waiters_end == &waiter->next)
		job->waiters_end = at;
	job->waiting--;
	return true;
}

void wfs_job_fail_locked(struct wfs_job *job, int error, bool gave_way)
{
	if (job->error)
		return;
	job->error = error;
	job->gave_way = gave_way;
}

void wfs_queue_remove_locked(struct wfs_job *job)
{
	struct wfs_job_queue *queue = job->queue;

	if (!queue)
		return;
	if (job->prev)
		job->prev->next = job->next;
	else
		queue->head = job->next;
	if (job->next)
		job->next->prev = job->prev;
	else
		queue->tail = job->prev;
	job->queue = NULL;
	job->prev = job->next = NULL;
}

static void push(struct wfs_job_queue *queue, struct wfs_job *job, bool front)
{
	job->queue = queue;
	job->prev = front ? NULL : queue->tail;
	job->next = front ? queue->head : NULL;
	if (job->prev)
		job->prev->next = job;
	else
		queue->head = job;
	if (job->next)
		job->next->prev = job;
	else
		queue->tail = job;
}

static void mark(struct wfs_job *job)
{
	job->crew->work_queued += job->left;
	job->mark = job->crew->work_queued;
}

void wfs_queue_add_locked(struct wfs_job *job)
{
	struct wfs_crew *crew = job->crew;

	if (job->wanted && job->phase == WFS_JOB_NEW)
		mark(job);
	push(job->wanted ? &crew->wanted : &crew->prefetch, job,
	     job->phase != WFS_JOB_NEW);
	pthread_cond_signal(&crew->work);
}

void wfs_queue_promote_locked(struct wfs_job *job)
{
	struct wfs_crew *crew = job->crew;

	if (job->wanted)
		return;
	job->wanted = true;
	mark(job);
	crew->prefetching -= job->active;
	if (job->queue) {
		wfs_queue_remove_locked(job);
		push(&crew->wanted, job, false);
	}
	pthread_cond_signal(&crew->work);
}

struct wfs_job *wfs_queue_next_locked(struct wfs_crew *crew)
{
	struct wfs_job *job = crew->wanted.head;

	if (job)
		return job;
	if (crew->prefetching && crew->prefetching + 1 >= crew->count)
		return NULL;
	return crew->prefetch.head;
}

void wfs_queue_progress_locked(struct wfs_job *job, uint64_t bytes)
{
	if (bytes > job->left)
		bytes = job->left;
	job->left -= bytes;
	if (job->wanted)
		job->crew->work_done += bytes;
}

static uint64_t bytes_per_s(uint64_t bytes, uint64_t ns)
{
	return (uint64_t)((double)bytes * 1e9 / (double)(ns ? ns : 1)) + 1;
}

uint64_t wfs_queue_wait_ns_locked(const struct wfs_job *job)
{
	const struct wfs_crew *crew = job->crew;
	const struct wfs_rate *rate = &crew->rate;
	uint64_t value = rate->value;
	uint64_t work = job->mark - crew->work_done;

	if (job->mark <= crew->work_done || work < job->left)
		work = job->left;
	/* A source that has become slow is noticed before its next chunk. */
	if (rate->copiers) {
		uint64_t age = wfs_now_ns() - rate->since;
		uint64_t now = bytes_per_s(rate->bytes + crew->chunk, age);

		if (age > SAMPLE_NS && now < value)
			value = now;
	}
	return (uint64_t)((double)work * 1e9 / (double)value);
}

static void sample(struct wfs_rate *rate, uint64_t now)
{
	uint64_t value = bytes_per_s(rate->bytes, now - rate->since);

	rate->value = (3 * rate->value + value) / 4;
	rate->since = now;
	rate->bytes = 0;
}

void wfs_rate_begin(struct wfs_rate *rate)
{
	if (rate->copiers++)
		return;
	rate->since = wfs_now_ns();
	rate->bytes = 0;
}

void wfs_rate_add(struct wfs_rate *rate, uint64_t bytes)
{
	uint64_t now = wfs_now_ns();

	rate->bytes += bytes;
	if (now - rate->since >= SAMPLE_NS)
		sample(rate, now);
}

void wfs_rate_end(struct wfs_rate *rate)
{
	if (--rate->copiers == 0 && rate->bytes >= SAMPLE_MIN)
		sample(rate, wfs_now_ns());
}
