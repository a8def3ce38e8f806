/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a hydration: the file is closed for writing, opened again
 * through the read-only mount, exposed, and whoever waits is told.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/stretch.h"
#include "core/base/text.h"
#include "core/store/inner.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* The file is complete: nobody can write it any more, readers may have it. */
static int publish(struct wfs_store *store, struct wfs_job *job)
{
	struct wfs_object *object = job->object;
	int fd wfs_autoclose = -1;
	int id, rc;

	rc = wfs_recipe_check_sources(job->recipe);
	if (rc)
		return rc;
	fd = wfs_arena_reopen(&store->arena, object->serial);
	if (fd < 0)
		return fd;
	id = store->exposer.expose(store->exposer.ctx, fd);
	if (id <= 0)
		return id ? id : -EIO;
	object->id = id;
	object->fd = wfs_steal_fd(&fd);
	return 0;
}

static int close_file(struct wfs_store *store, struct wfs_job *job, int rc)
{
	if (job->map) {
		/* Before anybody sees it no device may write there any more. */
		wfs_stretch_remove(job->map);
		if (!rc && job->scattered)
			madvise(job->map, job->recipe->size, MADV_COLLAPSE);
		munmap(job->map, job->recipe->size);
		job->map = NULL;
	}
	if (job->fd < 0)
		return rc;
	close(job->fd);
	job->fd = -1;
	if (!rc)
		rc = publish(store, job);
	if (rc) {
		wfs_arena_unlink(&store->arena, job->object->serial);
		pthread_mutex_lock(&store->lock);
		store->files--;
		pthread_mutex_unlock(&store->lock);
	}
	return rc;
}

void wfs_failure_forget_locked(struct wfs_store *store, uint64_t key)
{
	for (unsigned i = 0; i < WFS_FAILURES; i++)
		if (store->failures[i].key == key)
			store->failures[i] = (struct wfs_failure){ 0 };
}

int wfs_failure_find_locked(const struct wfs_store *store, uint64_t key)
{
	for (unsigned i = 0; i < WFS_FAILURES; i++)
		if (store->failures[i].key == key)
			return store->failures[i].error;
	return 0;
}

static void note_failure_locked(struct wfs_store *store, uint64_t key,
				int error)
{
	wfs_failure_forget_locked(store, key);
	store->failures[store->next_failure++ % WFS_FAILURES] =
		(struct wfs_failure){ key, error };
}

static void settle_success(struct wfs_store *store, struct wfs_job *job)
{
	struct wfs_object *object = job->object;

	wfs_failure_forget_locked(store, object->key);
	object->state = WFS_RESIDENT;
	object->job = NULL;
	object->users = job->waiting;
	store->resident_files++;
	store->resident_bytes += object->size;
	store->hydrated_files++;
	store->hydrated_bytes += object->size;
	if (!job->wanted) {
		store->prefetched_files++;
		store->prefetched_bytes += object->size;
	}
	if (object->users)
		store->used_files++;
	else
		wfs_object_park_locked(store, object);
	if (store->digests)
		wfs_keeper_digest_locked(store, object);
}

static void settle_failure(struct wfs_store *store, struct wfs_job *job,
			   int error)
{
	uint64_t key = job->object->key;

	wfs_table_remove(&store->table, job->object);
	job->empty = wfs_holding_remove_locked(store, job->object);
	free(job->object);
	job->object = NULL;
	/* A prefetch that gave way did not fail, nor what the end cut off. */
	if (error == -ENOSPC ? !job->wanted :
			       error == -ESHUTDOWN || error == -ECANCELED)
		return;
	note_failure_locked(store, key, error);
	if (error == -ENOSPC)
		store->refused += job->waiting ? job->waiting : 1;
	else
		store->failed++;
}

static void call_waiters(struct wfs_waiter *waiter, int result)
{
	while (waiter) {
		struct wfs_waiter *next = waiter->next;

		waiter->done(waiter, result);
		waiter = next;
	}
}

/*
 * A prefetch gave way, and somebody came to want it after it did but before
 * it was gone: that one may evict.
 */
static bool restart_locked(struct wfs_store *store, struct wfs_job *job,
			   int error)
{
	if ((error != -ENOSPC && error != -ECANCELED) || !job->gave_way ||
	    !job->wanted || !store->attached)
		return false;
	for (uint32_t i = 0; i < job->spans; i++)
		atomic_store(&job->done[i], 0);
	job->error = 0;
	job->gave_way = false;
	job->next_span = 0;
	job->phase = WFS_JOB_NEW;
	job->left = job->recipe->size + WFS_FILE_WORK;
	wfs_queue_add_locked(job);
	return true;
}

static void end_running_locked(struct wfs_store *store)
{
	store->ended_at = wfs_now_ns();
	/* Not for every small file: it may be looking at the clock anyway. */
	if (--store->running == 0 && store->keeper_sleeps)
		pthread_cond_signal(&store->chores);
	pthread_cond_broadcast(&store->changed);
}

void wfs_job_finish_locked(struct wfs_store *store, struct wfs_job *job)
{
	struct wfs_waiter *waiters;
	int rc;

	job->phase = WFS_JOB_FINISHING;
	while (job->readers)
		pthread_cond_wait(&store->changed, &store->lock);
	rc = job->error;
	pthread_mutex_unlock(&store->lock);
	rc = close_file(store, job, rc);
	pthread_mutex_lock(&store->lock);
	wfs_queue_progress_locked(job, job->left);
	if (restart_locked(store, job, rc)) {
		end_running_locked(store);
		return;
	}
	if (rc == -ECANCELED)
		rc = -ESHUTDOWN; /* who waits came as the session ended */
	waiters = job->waiters;
	if (rc)
		settle_failure(store, job, rc);
	else
		settle_success(store, job);
	if (!rc)
		rc = job->object->id;
	pthread_mutex_unlock(&store->lock);
	call_waiters(waiters, rc);
	wfs_job_free(job);
	pthread_mutex_lock(&store->lock);
	end_running_locked(store);
}

void wfs_job_abort_locked(struct wfs_store *store, struct wfs_job *job,
			  int error)
{
	wfs_queue_remove_locked(job);
	wfs_job_fail_locked(job, error, !job->wanted);
	if (job->phase == WFS_JOB_NEW)
		store->running++;
	job->phase = WFS_JOB_COPYING;
	if (!job->active)
		wfs_job_finish_locked(store, job);
}
