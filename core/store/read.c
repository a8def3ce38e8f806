/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what an object has in the arena, all of it or what has come so far.
 */
#include <sys/mman.h>

#include "core/base/text.h"
#include "core/store/inner.h"

/* Of a file that is being hydrated. */
static size_t copied(const struct wfs_job *job, uint64_t off, size_t len)
{
	uint64_t size = job->recipe->size;
	uint64_t at = off;

	if (job->phase != WFS_JOB_COPYING || job->fd < 0 || off >= size)
		return 0;
	if (len > size - off)
		len = size - off;
	while (at - off < len) {
		uint32_t span = (uint32_t)((at + job->skew) / WFS_SPAN);
		uint64_t end = wfs_job_span_start(job, span) +
			       atomic_load_explicit(&job->done[span],
						    memory_order_acquire);

		if (end <= at)
			break;
		at = end;
		if (end != wfs_job_span_start(job, span + 1))
			break;
	}
	return at - off < len ? at - off : len;
}

size_t wfs_object_copied_locked(const struct wfs_object *object, uint64_t off,
				size_t len)
{
	if (object->state == WFS_HYDRATING)
		return copied(object->job, off, len);
	if (off >= object->size)
		return 0;
	return len < object->size - off ? len : (size_t)(object->size - off);
}

/*
 * What is here stays where it is while the lock is not held.  The job of one
 * that is hydrating, else NULL: for let_go_locked.
 */
static struct wfs_job *hold_locked(struct wfs_store *store,
				   struct wfs_object *object)
{
	if (object->state == WFS_RESIDENT) {
		store->reading++;
		wfs_object_use_locked(store, object);
		return NULL;
	}
	object->job->readers++;
	return object->job;
}

static void let_go_locked(struct wfs_store *store, struct wfs_object *object,
			  struct wfs_job *job)
{
	unsigned left;

	if (job) {
		left = --job->readers;
	} else {
		wfs_object_unuse_locked(store, object);
		left = --store->reading;
	}
	if (!left)
		pthread_cond_broadcast(&store->changed);
}

ssize_t wfs_object_read_locked(struct wfs_store *store,
			       struct wfs_object *object, void *buf, size_t len,
			       uint64_t off)
{
	struct wfs_job *job;
	ssize_t n;
	int fd;

	if (!store->attached)
		return 0;
	len = wfs_object_copied_locked(object, off, len);
	if (!len)
		return 0;
	job = hold_locked(store, object);
	fd = job ? job->fd : object->fd;
	pthread_mutex_unlock(&store->lock);
	n = wfs_pread_all(fd, buf, len, off);
	pthread_mutex_lock(&store->lock);
	let_go_locked(store, object, job);
	return n;
}

/*
 * A map of a few huge pages, made and gone in microseconds, where a copy of
 * as many bytes takes a hundred.
 */
static bool use_mapped(int fd, size_t len, uint64_t off,
		       const struct wfs_use *use)
{
	size_t skew = off % WFS_HUGE_PAGE;
	size_t size = (skew + len + WFS_HUGE_PAGE - 1) / WFS_HUGE_PAGE *
		      WFS_HUGE_PAGE;
	char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd,
			 (off_t)(off - skew));

	if (map == MAP_FAILED)
		return false;
	use->with(use->ctx, map + skew, len);
	munmap(map, size);
	return true;
}

bool wfs_object_use_bytes_locked(struct wfs_store *store,
				 struct wfs_object *object, size_t len,
				 uint64_t off, const struct wfs_use *use)
{
	struct wfs_job *job;
	bool used = true;
	int fd;

	if (!store->attached || !store->arena.huge ||
	    object->size < WFS_MAP_MIN || off >= object->size)
		return false;
	if (len > object->size - off)
		len = (size_t)(object->size - off);
	if (wfs_object_copied_locked(object, off, len) < len)
		return false;
	job = hold_locked(store, object);
	fd = job ? -1 : object->fd;
	pthread_mutex_unlock(&store->lock);
	if (job && job->map)
		use->with(use->ctx, job->map + off, len);
	else
		used = !job && use_mapped(fd, len, off, use);
	pthread_mutex_lock(&store->lock);
	let_go_locked(store, object, job);
	return used;
}

/* Bytes that the region keeps itself. */
static size_t read_head(struct wfs_region *region, void *buf, size_t len,
			uint64_t off)
{
	if (off >= region->head_len)
		return 0;
	if (len > region->head_len - off)
		len = (size_t)(region->head_len - off);
	return wfs_region_read_exactly(region, buf, len, off) ? 0 : len;
}

bool wfs_held_read(void *ctx, struct wfs_region *region, void *buf, size_t len,
		   uint64_t off)
{
	struct wfs_store *store = ctx;
	char *to = buf;

	if (atomic_load(&region->stale))
		return false;
	while (len) {
		ssize_t n = (ssize_t)read_head(region, to, len, off);

		if (!n)
			n = wfs_holding_read(store, region, to, len, off);
		if (n <= 0)
			return false;
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}
