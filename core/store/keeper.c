/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: one thread for what can wait.
 *
 * Digests are taken from the arena once nothing has been hydrated for a second,
 * at a fraction of the memory's speed, so that neither who waits nor who reads
 * what was just hydrated pays for them.  (A lower priority would be worse:
 * others would wait for the lock that it holds.)  Doomed objects that somebody
 * maps are asked again a few times a second until they are let go.  The thread
 * sleeps when there is neither.
 */
#include <errno.h>

#include "core/base/cond.h"
#include "core/base/text.h"
#include "core/store/inner.h"

#define SWEEP_NS 200000000ull
#define QUIET_NS 1000000000ull

/* The pace of digests: 2 GB/s, and 10 us for a file. */
#define PACE_NS(bytes) ((uint64_t)(bytes) / 2)
#define PACE_FILE_NS   10000u
/* Shorter pauses are not worth it. */
#define PAUSE_NS 1000000u

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

/* When digests may go on, if nothing is hydrated until then. */
static uint64_t digest_at(const struct wfs_store *store)
{
	uint64_t at = store->digest_pace > PAUSE_NS ?
			      store->digest_pace - PAUSE_NS :
			      0;

	if (store->running || wfs_crews_queued_locked(store))
		return UINT64_MAX;
	if (at < store->ended_at + QUIET_NS)
		at = store->ended_at + QUIET_NS;
	return at;
}

/* Until `at`, for ever if it is UINT64_MAX, or until there is a chore. */
static void sleep_until_locked(struct wfs_store *store, uint64_t at)
{
	store->keeper_sleeps = at == UINT64_MAX;
	wfs_cond_wait_until(&store->chores, &store->lock, at);
	store->keeper_sleeps = false;
}

static void pace_locked(struct wfs_store *store, uint64_t ns)
{
	uint64_t now = wfs_now_ns();

	if (store->digest_pace < now)
		store->digest_pace = now;
	store->digest_pace += ns;
}

/* Gives way to hydrations; false if the object is to be left. */
static bool may_go_on(struct wfs_store *store, uint64_t hashed)
{
	bool stop;

	pthread_mutex_lock(&store->lock);
	pace_locked(store, PACE_NS(hashed));
	for (;;) {
		uint64_t at = digest_at(store);

		stop = store->closing || atomic_load(&store->digest_stop);
		if (stop || at <= wfs_now_ns())
			break;
		sleep_until_locked(store, at);
	}
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
		if (n == WFS_DIGEST_STEP && !may_go_on(store, (uint64_t)n))
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
	pace_locked(store, PACE_FILE_NS);
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

/* When there is something to do, as far as can be known now. */
static uint64_t next_chore_at(const struct wfs_store *store)
{
	uint64_t at = UINT64_MAX;

	if (store->digest_head < store->digest_tail)
		at = digest_at(store);
	if (store->doomed.head && store->doomed.head->asked_at + SWEEP_NS < at)
		at = store->doomed.head->asked_at + SWEEP_NS;
	return at;
}

void *wfs_keeper_thread(void *arg)
{
	struct wfs_store *store = arg;

	pthread_mutex_lock(&store->lock);
	while (!store->closing) {
		sweep_locked(store);
		if (store->closing)
			break;
		if (store->digest_head < store->digest_tail &&
		    digest_at(store) <= wfs_now_ns())
			digest_next_locked(store);
		else
			sleep_until_locked(store, next_chore_at(store));
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}
