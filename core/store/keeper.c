/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: one thread of low priority for what can wait.
 *
 * Digests are taken from the arena once nothing is being hydrated, so that a
 * reader who waits never pays for them.  Doomed objects that somebody maps
 * are asked again a few times a second until they are let go.  The thread
 * sleeps when there is neither.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/inner.h"

#define SWEEP_NS 200000000ull
#define NICE	 10

void wfs_keeper_digest_locked(struct wfs_store *store,
			      struct wfs_object *object)
{
	/* Moved to the front when full, grown when that gains little. */
	if (store->digest_tail == store->digest_cap) {
		size_t n = store->digest_tail - store->digest_head;

		for (size_t i = 0; i < n; i++)
			store->digest_keys[i] =
				store->digest_keys[store->digest_head + i];
		store->digest_head = 0;
		store->digest_tail = n;
		if (n >= store->digest_cap / 2) {
			store->digest_cap = 2 * store->digest_cap + 64;
			store->digest_keys = wfs_realloc(
				store->digest_keys,
				store->digest_cap * sizeof(uint64_t));
		}
	}
	store->digest_keys[store->digest_tail++] = object->key;
}

void wfs_keeper_leave_locked(struct wfs_store *store,
			     const struct wfs_object *object)
{
	while (store->digesting == object) {
		atomic_store(&store->digest_stop, true);
		pthread_cond_signal(&store->chores);
		pthread_cond_wait(&store->changed, &store->lock);
	}
}

static bool hydrating(const struct wfs_store *store)
{
	return store->running || store->wanted.head || store->prefetch.head;
}

/* Gives way to hydrations; false if the object is to be left. */
static bool may_go_on(struct wfs_store *store)
{
	bool stop;

	pthread_mutex_lock(&store->lock);
	while (hydrating(store) && !store->closing &&
	       !atomic_load(&store->digest_stop))
		pthread_cond_wait(&store->chores, &store->lock);
	stop = store->closing || atomic_load(&store->digest_stop);
	pthread_mutex_unlock(&store->lock);
	return !stop;
}

/* 0, or a negative errno: -ECANCELED if it was told to stop. */
static int hash(struct wfs_store *store, int fd, uint8_t *digest)
{
	uint64_t off = 0;
	int64_t n;

	wfs_digester_start(store->digester);
	while ((n = wfs_digester_step(store->digester, fd, off)) > 0) {
		off += (uint64_t)n;
		if (n == WFS_DIGEST_STEP && !may_go_on(store))
			return -ECANCELED;
	}
	if (n < 0)
		return (int)n;
	wfs_digester_finish(store->digester, digest);
	return 0;
}

static void digest_next_locked(struct wfs_store *store)
{
	uint64_t key = store->digest_keys[store->digest_head++];
	struct wfs_object *object = wfs_object_find_locked(store, key);
	uint8_t digest[WFS_DIGEST_BYTES];
	int rc;

	if (!object || object->state != WFS_RESIDENT || object->has_digest)
		return;
	store->digesting = object;
	atomic_store(&store->digest_stop, false);
	pthread_mutex_unlock(&store->lock);
	rc = hash(store, object->fd, digest);
	pthread_mutex_lock(&store->lock);
	store->digesting = NULL;
	if (!rc) {
		for (int i = 0; i < WFS_DIGEST_BYTES; i++)
			object->digest[i] = digest[i];
		object->has_digest = true;
	}
	pthread_cond_broadcast(&store->changed);
}

static void sweep_locked(struct wfs_store *store)
{
	uint64_t now = wfs_now_ns();
	struct wfs_object *object;

	/* One that is refused goes to the end, asked after `now`. */
	while ((object = store->doomed.head) &&
	       object->asked_at + SWEEP_NS <= now)
		wfs_evict_object_locked(store, object);
}

static void sleep_locked(struct wfs_store *store)
{
	uint64_t until = wfs_now_ns() + SWEEP_NS;
	struct timespec ts = { .tv_sec = (time_t)(until / 1000000000u),
			       .tv_nsec = (long)(until % 1000000000u) };

	if (store->doomed.head)
		pthread_cond_timedwait(&store->chores, &store->lock, &ts);
	else
		pthread_cond_wait(&store->chores, &store->lock);
}

void *wfs_keeper_thread(void *arg)
{
	struct wfs_store *store = arg;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	pthread_mutex_lock(&store->lock);
	while (!store->closing) {
		sweep_locked(store);
		if (store->closing)
			break;
		if (store->digest_head < store->digest_tail &&
		    !hydrating(store))
			digest_next_locked(store);
		else
			sleep_locked(store);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}
