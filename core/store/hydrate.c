/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hydration: threads that copy recipes into arena files and expose them.
 *
 * A job is opened by one thread (space, file, map), copied span by span by
 * as many as are free, and finished by the one that finds nothing left to
 * copy.  Bytes go straight from the source into the mapped file; only files
 * too small for a huge page are written, which costs less than faults.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/inner.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define BUFFER	   (256u << 10)
#define OPEN_TRIES 4
/* More faults in a span than this: it does not have huge pages. */
#define SCATTERED (8 * (long)(WFS_SPAN / WFS_HUGE_PAGE))

static int create_file(struct wfs_store *store, struct wfs_job *job)
{
	int fd = -EEXIST;

	while (fd == -EEXIST) {
		pthread_mutex_lock(&store->lock);
		job->object->serial = ++store->serial;
		pthread_mutex_unlock(&store->lock);
		fd = wfs_arena_create(&store->arena, job->object->serial,
				      job->recipe->size);
	}
	if (fd >= 0) {
		job->fd = fd;
		return 0;
	}
	return fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM ? -ENOSPC : fd;
}

static int open_file(struct wfs_store *store, struct wfs_job *job, bool evict)
{
	uint64_t size = job->recipe->size;
	uint64_t cost = wfs_arena_cost(size);
	void *map;
	int rc = -ENOSPC;

	/* Another may have taken what was free between asking and taking. */
	for (int i = 0; i < OPEN_TRIES && rc == -ENOSPC; i++) {
		rc = wfs_room_take(store, cost, evict);
		if (rc)
			return rc;
		rc = create_file(store, job);
		wfs_room_settle(store, cost, rc == 0);
	}
	if (rc || !store->arena.huge || size < WFS_MAP_MIN)
		return rc;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, job->fd, 0);
	if (map != MAP_FAILED)
		job->map = map;
	return 0;
}

/*
 * A thread takes the job up; a prefetch may become wanted meanwhile, and
 * wanted ones may evict.
 */
static int open_job(struct wfs_store *store, struct wfs_job *job)
{
	bool evict, wanted;
	int rc = wfs_recipe_check_sources(job->recipe);

	if (rc)
		return rc;
	pthread_mutex_lock(&store->lock);
	wanted = job->wanted;
	pthread_mutex_unlock(&store->lock);
	do {
		evict = wanted;
		rc = open_file(store, job, evict);
		pthread_mutex_lock(&store->lock);
		wanted = job->wanted;
		pthread_mutex_unlock(&store->lock);
	} while (rc == -ENOSPC && wanted != evict);
	return rc;
}

static int write_all(int fd, const uint8_t *buf, size_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

/* Up to one chunk at `off`; bytes copied or a negative errno. */
static ssize_t copy_chunk(const struct wfs_job *job, uint64_t off, uint64_t len,
			  uint8_t *buffer)
{
	ssize_t n;
	int rc;

	if (job->map) {
		n = wfs_recipe_read(job->recipe, job->map + off, len, off);
		return n ? n : -EIO;
	}
	n = wfs_recipe_read(job->recipe, buffer, len < BUFFER ? len : BUFFER,
			    off);
	if (n <= 0)
		return n ? n : -EIO;
	rc = write_all(job->fd, buffer, (size_t)n, off);
	return rc ? rc : n;
}

/* Only what is large says how fast bytes are copied. */
static bool measured(const struct wfs_job *job)
{
	return job->recipe->size >= WFS_MAP_MIN;
}

static int copy_span(struct wfs_store *store, struct wfs_job *job,
		     uint32_t span, uint8_t *buffer)
{
	uint64_t start = span * WFS_SPAN;
	uint64_t size = job->recipe->size - start;
	uint64_t done = 0;

	if (size > WFS_SPAN)
		size = WFS_SPAN;
	while (done < size) {
		uint64_t len = size - done;
		ssize_t n;

		if (atomic_load(&store->quit))
			return -ESHUTDOWN;
		if (atomic_load(&job->error))
			return 0; /* another thread's */
		n = copy_chunk(job, start + done,
			       len < store->chunk ? len : store->chunk, buffer);
		if (n < 0)
			return (int)n;
		done += (uint64_t)n;
		atomic_store_explicit(&job->done[span], done,
				      memory_order_release);
		pthread_mutex_lock(&store->lock);
		wfs_queue_progress_locked(store, job, (uint64_t)n);
		if (measured(job))
			wfs_rate_add(&store->rate, (uint64_t)n);
		pthread_mutex_unlock(&store->lock);
	}
	return 0;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* Takes the next span of the job and copies it. */
static void copy_job(struct wfs_store *store, struct wfs_job *job,
		     uint8_t *buffer)
{
	uint32_t span = job->next_span++;
	long before = faults();
	int rc;

	if (job->next_span == job->spans)
		wfs_queue_remove_locked(job);
	if (measured(job))
		wfs_rate_begin(&store->rate);
	pthread_mutex_unlock(&store->lock);
	rc = copy_span(store, job, span, buffer);
	pthread_mutex_lock(&store->lock);
	if (measured(job))
		wfs_rate_end(&store->rate);
	/* One fault for a huge page, 512 where there was none to be had. */
	if (job->map && faults() - before > SCATTERED)
		job->scattered = true;
	if (rc && !job->error)
		job->error = rc;
}

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

static void settle_success(struct wfs_store *store, struct wfs_job *job)
{
	struct wfs_object *object = job->object;

	object->state = WFS_RESIDENT;
	object->job = NULL;
	object->users = job->waiting;
	store->resident_files++;
	store->resident_bytes += object->size;
	store->hydrated_files++;
	store->hydrated_bytes += object->size;
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
	wfs_table_remove(&store->table, job->object);
	free(job->object);
	job->object = NULL;
	if (error == -ENOSPC) {
		if (job->wanted)
			store->refused += job->waiting ? job->waiting : 1;
	} else if (error != -ESHUTDOWN && error != -ECANCELED) {
		store->failed++;
	}
}

static void call_waiters(struct wfs_waiter *waiter, int result)
{
	while (waiter) {
		struct wfs_waiter *next = waiter->next;

		waiter->done(waiter, result);
		waiter = next;
	}
}

void wfs_hydrate_finish_locked(struct wfs_store *store, struct wfs_job *job)
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
	wfs_queue_progress_locked(store, job, job->left);
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
	if (--store->running == 0)
		pthread_cond_signal(&store->chores);
	pthread_cond_broadcast(&store->changed);
}

void wfs_hydrate_abort_locked(struct wfs_store *store, struct wfs_job *job,
			      int error)
{
	wfs_queue_remove_locked(job);
	if (!job->error)
		job->error = error;
	if (job->phase == WFS_JOB_NEW)
		store->running++;
	job->phase = WFS_JOB_COPYING;
	if (!job->active)
		wfs_hydrate_finish_locked(store, job);
}

static void work_on(struct wfs_store *store, struct wfs_job *job,
		    uint8_t *buffer)
{
	int rc = 0;

	job->active++;
	if (!job->wanted)
		store->prefetching++;
	if (job->phase == WFS_JOB_NEW) {
		store->running++;
		wfs_queue_remove_locked(job);
		pthread_mutex_unlock(&store->lock);
		rc = open_job(store, job);
		pthread_mutex_lock(&store->lock);
		job->phase = WFS_JOB_COPYING;
		if (rc)
			job->error = rc;
		else if (job->spans > 1)
			wfs_queue_add_locked(store, job);
	}
	if (!job->error)
		copy_job(store, job, buffer);
	if (job->error)
		wfs_queue_remove_locked(job);
	job->active--;
	if (!job->wanted)
		store->prefetching--;
	if (!job->active && (job->error || job->next_span == job->spans))
		wfs_hydrate_finish_locked(store, job);
}

void *wfs_hydrate_thread(void *arg)
{
	struct wfs_store *store = arg;
	uint8_t *buffer wfs_autofree = wfs_malloc(BUFFER);

	pthread_mutex_lock(&store->lock);
	while (!store->closing) {
		struct wfs_job *job = wfs_queue_next_locked(store);

		if (job)
			work_on(store, job, buffer);
		else
			pthread_cond_wait(&store->work, &store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}
