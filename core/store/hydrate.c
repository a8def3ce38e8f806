/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hydration: threads that copy recipes into arena files.
 *
 * A job is opened by one thread (space, file, map), copied span by span by as
 * many as are free, and finished (finish.c) by the one that finds nothing left
 * to copy.  Bytes go straight from the source into the mapped file; only files
 * too small for a huge page are written, which costs less than faults.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/stretch.h"
#include "core/base/text.h"
#include "core/store/chunks.h"
#include "core/store/inner.h"

#define BUFFER	   (256u << 10)
#define OPEN_TRIES 4
#define THREAD	   "hydrate" /* as ps and top have it */
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

/* Checks, makes and maps the file; evicts for it if `evict`. */
static int open_file(struct wfs_store *store, struct wfs_job *job, bool evict)
{
	uint64_t size = job->recipe->size;
	uint64_t cost = wfs_arena_cost(size);
	void *map;
	int rc = wfs_recipe_check_sources(job->recipe);

	if (rc)
		return rc;
	rc = -ENOSPC;
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
	if (map != MAP_FAILED) {
		job->map = map;
		wfs_stretch_add(map, size);
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
	rc = wfs_pwrite_all(job->fd, buffer, (size_t)n, off);
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
	const struct wfs_crew *crew = job->crew;
	uint64_t start = wfs_job_span_start(job, span);
	uint64_t size = wfs_job_span_start(job, span + 1) - start;
	uint64_t done = 0;

	while (done < size) {
		uint64_t len = size - done;
		ssize_t n;

		if (atomic_load(&store->quit))
			return -ESHUTDOWN;
		if (atomic_load(&job->error))
			return 0; /* another thread's */
		if (len > crew->chunk &&
		    !wfs_recipe_is_turned(job->recipe, start + done))
			len = crew->chunk;
		wfs_chunks_hold();
		n = copy_chunk(job, start + done, len, buffer);
		if (n > 0) {
			done += (uint64_t)n;
			atomic_store_explicit(&job->done[span], done,
					      memory_order_release);
		}
		wfs_chunks_let_go(store->chunks);
		if (n < 0)
			return (int)n;
		pthread_mutex_lock(&store->lock);
		wfs_queue_progress_locked(job, (uint64_t)n);
		store->copied_bytes += (uint64_t)n;
		if (measured(job))
			wfs_rate_add(&job->crew->rate, (uint64_t)n);
		pthread_mutex_unlock(&store->lock);
	}
	return 0;
}

/*
 * Has the thread faulted so often since it was last asked?  Between two spans
 * it does next to nothing, and to ask before each, too, costs a system call.
 */
static bool has_scattered(void)
{
	static _Thread_local long before;
	struct rusage usage;
	bool often;

	getrusage(RUSAGE_THREAD, &usage);
	often = usage.ru_minflt - before > SCATTERED;
	before = usage.ru_minflt;
	return often;
}

/* Takes the next span of the job and copies it. */
static void copy_job(struct wfs_store *store, struct wfs_job *job,
		     uint8_t *buffer)
{
	uint32_t span = job->next_span++;
	bool scattered;
	int rc;

	if (job->next_span == job->spans)
		wfs_queue_remove_locked(job);
	else
		pthread_cond_signal(&job->crew->work); /* there is more */
	if (measured(job))
		wfs_rate_begin(&job->crew->rate);
	wfs_read_ahead(!job->wanted);
	pthread_mutex_unlock(&store->lock);
	rc = copy_span(store, job, span, buffer);
	scattered = has_scattered(); /* of this span, not of the next one */
	pthread_mutex_lock(&store->lock);
	if (measured(job))
		wfs_rate_end(&job->crew->rate);
	/* One fault for a huge page, 512 where there was none to be had. */
	if (job->map && scattered)
		job->scattered = true;
	if (rc)
		wfs_job_fail_locked(job, rc, false);
}

static void work_on(struct wfs_store *store, struct wfs_job *job,
		    uint8_t *buffer)
{
	bool evict = job->wanted;
	int rc;

	job->active++;
	if (!job->wanted)
		job->crew->prefetching++;
	if (job->phase == WFS_JOB_NEW) {
		store->running++;
		wfs_queue_remove_locked(job);
		pthread_mutex_unlock(&store->lock);
		rc = open_file(store, job, evict);
		pthread_mutex_lock(&store->lock);
		job->phase = WFS_JOB_COPYING;
		if (rc)
			wfs_job_fail_locked(job, rc, !evict);
		else if (job->spans > 1)
			wfs_queue_add_locked(job);
	}
	if (!job->error)
		copy_job(store, job, buffer);
	if (job->error)
		wfs_queue_remove_locked(job);
	job->active--;
	if (!job->wanted)
		job->crew->prefetching--;
	if (!job->active && (job->error || job->next_span == job->spans))
		wfs_job_finish_locked(store, job);
}

void *wfs_hydrate_thread(void *arg)
{
	struct wfs_crew *crew = arg;
	struct wfs_store *store = crew->store;
	uint8_t *buffer wfs_autofree = wfs_malloc(BUFFER);

	pthread_setname_np(pthread_self(), THREAD);
	pthread_mutex_lock(&store->lock);
	while (!store->closing) {
		struct wfs_job *job = wfs_queue_next_locked(crew);

		if (job)
			work_on(store, job, buffer);
		else
			pthread_cond_wait(&crew->work, &store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}
