/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's face: what the FUSE side calls.
 *
 * Acquiring a resident object is the hot path of every open: one short lock,
 * no system call, no allocation.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/inner.h"

static int add_waiter(struct wfs_object *object, struct wfs_waiter *waiter,
		      uint64_t *ret_wait_ns)
{
	struct wfs_job *job = object->job;

	wfs_queue_promote_locked(job);
	if (waiter) {
		waiter->key = object->key;
		wfs_job_wait_locked(job, waiter);
	}
	if (ret_wait_ns)
		*ret_wait_ns = wfs_queue_wait_ns_locked(job);
	return -EINPROGRESS;
}

static int refuse(struct wfs_store *store)
{
	store->refused++;
	return -ENOSPC;
}

/* An object that is there, in whatever state. */
static int acquire_present(struct wfs_store *store, struct wfs_object *object,
			   struct wfs_waiter *waiter, uint64_t *ret_wait_ns)
{
	if (!store->attached)
		return -ESHUTDOWN;
	if (object->doomed)
		return refuse(store);
	if (object->state == WFS_HYDRATING)
		return add_waiter(object, waiter, ret_wait_ns);
	wfs_object_use_locked(store, object);
	return object->id;
}

/* An object that is not there; takes over `recipe` if it returns it in job. */
static struct wfs_job *new_job(struct wfs_store *store, uint64_t key,
			       struct wfs_recipe *recipe, bool wanted)
{
	struct wfs_object *object = wfs_calloc(1, sizeof(*object));
	struct wfs_job *job = wfs_job_new(object, recipe);

	object->key = key;
	object->size = recipe->size;
	object->fd = -1;
	object->state = WFS_HYDRATING;
	object->job = job;
	job->wanted = wanted;
	job->crew = wfs_crew_of(store, recipe);
	wfs_table_add(&store->table, object);
	if (store->passes_on || store->chunks)
		wfs_holding_add_locked(store, object, recipe);
	wfs_queue_add_locked(job);
	return job;
}

/* May a hydration of `size` bytes be started? */
static int may_start(struct wfs_store *store, uint64_t size)
{
	if (!store->attached)
		return -ESHUTDOWN;
	return wfs_room_is_short_locked(store, size) ? -ENOSPC : 0;
}

int wfs_store_acquire(struct wfs_store *store, uint64_t key,
		      const struct wfs_recipe *recipe,
		      struct wfs_waiter *waiter, uint64_t *ret_wait_ns)
{
	struct wfs_recipe *copy = NULL;
	struct wfs_object *object;
	int rc;

	pthread_mutex_lock(&store->lock);
	object = wfs_object_find_locked(store, key);
	rc = object ? 0 : may_start(store, recipe->size);
	if (!object && !rc) {
		pthread_mutex_unlock(&store->lock);
		copy = wfs_recipe_dup(recipe);
		pthread_mutex_lock(&store->lock);
		object = wfs_object_find_locked(store, key);
		rc = object ? 0 : may_start(store, recipe->size);
	}
	if (rc == -ENOSPC)
		store->refused++;
	if (!rc && !object) {
		object =
			new_job(store, key, wfs_steal_ptr(&copy), true)->object;
		rc = add_waiter(object, waiter, ret_wait_ns);
	} else if (!rc) {
		rc = acquire_present(store, object, waiter, ret_wait_ns);
	}
	pthread_mutex_unlock(&store->lock);
	wfs_recipe_free(copy);
	return rc;
}

bool wfs_store_cancel(struct wfs_store *store, struct wfs_waiter *waiter)
{
	struct wfs_object *object;
	bool found;

	pthread_mutex_lock(&store->lock);
	object = wfs_table_find(&store->table, waiter->key);
	found = object && object->state == WFS_HYDRATING &&
		wfs_job_cancel_locked(object->job, waiter);
	pthread_mutex_unlock(&store->lock);
	return found;
}

void wfs_store_release(struct wfs_store *store, uint64_t key)
{
	struct wfs_object *object;

	pthread_mutex_lock(&store->lock);
	object = wfs_table_find(&store->table, key);
	if (object && object->state == WFS_RESIDENT && object->users)
		wfs_object_unuse_locked(store, object);
	pthread_mutex_unlock(&store->lock);
}

int wfs_store_prefetch(struct wfs_store *store, uint64_t key,
		       const struct wfs_recipe *recipe)
{
	struct wfs_recipe *copy;
	bool present;
	int rc;

	pthread_mutex_lock(&store->lock);
	present = wfs_table_find(&store->table, key);
	rc = present ? 0 : may_start(store, recipe->size);
	pthread_mutex_unlock(&store->lock);
	if (present || rc)
		return rc;
	copy = wfs_recipe_dup(recipe);
	pthread_mutex_lock(&store->lock);
	rc = may_start(store, recipe->size);
	if (!rc && !wfs_table_find(&store->table, key))
		new_job(store, key, wfs_steal_ptr(&copy), false);
	pthread_mutex_unlock(&store->lock);
	wfs_recipe_free(copy);
	return rc;
}

/* Bytes from the arena; 0 where it has none of them (yet). */
static ssize_t read_arena(struct wfs_store *store, uint64_t key, void *buf,
			  size_t len, uint64_t off)
{
	struct wfs_object *object;
	ssize_t n = 0;

	pthread_mutex_lock(&store->lock);
	/* What has all its bytes is exposed in a moment. */
	while ((object = wfs_object_find_locked(store, key)) &&
	       object->state == WFS_HYDRATING &&
	       object->job->phase == WFS_JOB_FINISHING)
		pthread_cond_wait(&store->changed, &store->lock);
	if (object && !object->doomed)
		n = wfs_object_read_locked(store, object, buf, len, off);
	pthread_mutex_unlock(&store->lock);
	return n;
}

bool wfs_store_use(struct wfs_store *store, uint64_t key, size_t len,
		   uint64_t off, const struct wfs_use *use)
{
	struct wfs_object *object;
	bool used;

	pthread_mutex_lock(&store->lock);
	object = wfs_table_find(&store->table, key);
	used = object && object->state != WFS_EVICTING && !object->doomed &&
	       wfs_object_use_bytes_locked(store, object, len, off, use);
	pthread_mutex_unlock(&store->lock);
	return used;
}

/* Will who reads a file come back for all of it? */
static bool may_hydrate(struct wfs_store *store, uint64_t size)
{
	int rc;

	pthread_mutex_lock(&store->lock);
	rc = may_start(store, size);
	pthread_mutex_unlock(&store->lock);
	return !rc;
}

ssize_t wfs_store_read(struct wfs_store *store, uint64_t key,
		       const struct wfs_recipe *recipe, void *buf, size_t len,
		       uint64_t off)
{
	ssize_t done, n;

	if (off >= recipe->size)
		return 0;
	if (len > recipe->size - off)
		len = recipe->size - off;
	done = read_arena(store, key, buf, len, off);
	if (done < 0)
		done = 0;
	if ((size_t)done == len)
		return done;
	wfs_read_in_passing(may_hydrate(store, recipe->size));
	n = wfs_recipe_read(recipe, (char *)buf + done, len - (size_t)done,
			    off + (uint64_t)done);
	wfs_read_in_passing(false);
	return n < 0 ? n : done + n;
}

static uint64_t job_bytes(const struct wfs_job *job)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < job->spans; i++)
		bytes += atomic_load(&job->done[i]);
	return bytes;
}

int wfs_store_descriptor(struct wfs_store *store, uint64_t key)
{
	struct wfs_object *object;
	int fd = -ENODATA;

	pthread_mutex_lock(&store->lock);
	object = wfs_object_find_locked(store, key);
	if (object && object->state == WFS_RESIDENT)
		fd = object->fd;
	pthread_mutex_unlock(&store->lock);
	return fd;
}

void wfs_store_residency(struct wfs_store *store, uint64_t key,
			 struct wfs_residency *ret_residency)
{
	struct wfs_residency res = { 0 };
	struct wfs_object *object;

	pthread_mutex_lock(&store->lock);
	object = wfs_object_find_locked(store, key);
	if (object && object->state == WFS_RESIDENT) {
		res.bytes = object->size;
		res.resident = true;
		res.has_digest = object->has_digest;
		if (object->has_digest)
			wfs_digest_format(object->digest, res.digest);
	} else if (object) {
		res.bytes = job_bytes(object->job);
		res.hydrating = true;
	}
	res.error = wfs_failure_find_locked(store, key);
	pthread_mutex_unlock(&store->lock);
	*ret_residency = res;
}

void wfs_store_forget_failure(struct wfs_store *store, uint64_t key)
{
	pthread_mutex_lock(&store->lock);
	wfs_failure_forget_locked(store, key);
	pthread_mutex_unlock(&store->lock);
}
