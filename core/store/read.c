/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what an object has in the arena, all of it or what has come so far.
 */
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

ssize_t wfs_object_read_locked(struct wfs_store *store,
			       struct wfs_object *object, void *buf, size_t len,
			       uint64_t off)
{
	struct wfs_job *job;
	ssize_t n = 0;

	if (!store->attached)
		return 0;
	len = wfs_object_copied_locked(object, off, len);
	if (!len)
		return 0;
	if (object->state == WFS_RESIDENT) {
		store->reading++;
		wfs_object_use_locked(store, object);
		pthread_mutex_unlock(&store->lock);
		n = wfs_pread_all(object->fd, buf, len, off);
		pthread_mutex_lock(&store->lock);
		wfs_object_unuse_locked(store, object);
		if (--store->reading == 0)
			pthread_cond_broadcast(&store->changed);
		return n;
	}
	job = object->job;
	job->readers++;
	pthread_mutex_unlock(&store->lock);
	n = wfs_pread_all(job->fd, buf, len, off);
	pthread_mutex_lock(&store->lock);
	if (--job->readers == 0)
		pthread_cond_broadcast(&store->changed);
	return n;
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
