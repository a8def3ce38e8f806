/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for what is wanted, and the eviction of what nobody uses.
 *
 * Room is what the arena has free by fstatfs, what the budget allows and
 * what is left of the limit on descriptors.  Where that is not enough, idle
 * objects go, least recently used first; one that turns out to be mapped is
 * left alone for a while, so that an arena full of those does not cost every
 * open a test of all of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "core/store/inner.h"

/* Descriptors that the rest of the process may need. */
#define FILES_RESERVE 256
#define LOG_NS	      60000000000ull

struct lack {
	uint64_t bytes, files;
	/* Of it others had taken so much, and so often had one settled. */
	uint64_t reserved, settled;
};

static uint64_t max_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return FILES_RESERVE;
	if (limit.rlim_cur <= 2 * FILES_RESERVE)
		return limit.rlim_cur / 2;
	return limit.rlim_cur - FILES_RESERVE;
}

/* One attempt; false and what is missing. */
static bool take(struct wfs_store *store, uint64_t bytes, struct lack *lack)
{
	uint64_t used = wfs_arena_used(&store->arena);
	uint64_t limit = max_files();
	uint64_t need;

	pthread_mutex_lock(&store->lock);
	*lack = (struct lack){ .reserved = store->reserved,
			       .settled = store->settled };
	need = used + store->reserved + bytes;
	if (need > store->arena.bytes)
		lack->bytes = need - store->arena.bytes;
	if (store->files >= limit)
		lack->files = store->files - limit + 1;
	if (!lack->bytes && !lack->files) {
		store->reserved += bytes;
		store->files++;
	}
	pthread_mutex_unlock(&store->lock);
	if (lack->bytes || lack->files)
		return false;
	if (!wfs_budget_take(&store->budget, bytes, &lack->bytes))
		return true;
	pthread_mutex_lock(&store->lock);
	store->reserved -= bytes;
	store->files--;
	pthread_mutex_unlock(&store->lock);
	return false;
}

/* Asked after `now` was taken counts as just asked. */
static bool may_ask(const struct wfs_object *object, uint64_t now)
{
	return object && object->asked_at + WFS_BUSY_NS <= now;
}

static struct wfs_object *victim(const struct wfs_store *store, uint64_t now)
{
	if (may_ask(store->doomed.head, now))
		return store->doomed.head;
	if (store->idle.head)
		return store->idle.head;
	if (may_ask(store->busy.head, now))
		return store->busy.head;
	return NULL;
}

/* Would evicting all that may be asked be enough?  If not, none shall go. */
static bool enough(const struct wfs_store *store, const struct lack *lack,
		   uint64_t now)
{
	const struct wfs_object_list *lists[] = { &store->doomed, &store->idle,
						  &store->busy };
	uint64_t bytes = 0, files = 0;

	for (unsigned i = 0; i < 3; i++)
		for (const struct wfs_object *object = lists[i]->head;
		     may_ask(object, now); object = object->next) {
			bytes += wfs_arena_cost(object->size);
			files++;
			if (bytes >= lack->bytes && files >= lack->files)
				return true;
		}
	return false;
}

/*
 * What others are allocating counts twice, as taken and as far as it is there
 * already, which may be all that is missing.  True: one of them is done.
 */
static bool await_settled(struct wfs_store *store, const struct lack *lack)
{
	if (!lack->bytes || !lack->reserved)
		return false;
	pthread_mutex_lock(&store->lock);
	while (store->settled == lack->settled)
		pthread_cond_wait(&store->changed, &store->lock);
	pthread_mutex_unlock(&store->lock);
	return true;
}

/* Evicts what is missing and a little more; false if nothing went. */
static bool evict_some(struct wfs_store *store, const struct lack *lack)
{
	uint64_t spare = lack->bytes / 8;
	uint64_t bytes = 0, files = 0;
	uint64_t now = wfs_now_ns();
	struct wfs_object *object;

	pthread_mutex_lock(&store->lock);
	if (!enough(store, lack, now)) {
		pthread_mutex_unlock(&store->lock);
		return false;
	}
	while ((object = victim(store, now))) {
		uint64_t cost = wfs_arena_cost(object->size);

		if (files >= lack->files && bytes >= lack->bytes &&
		    bytes + cost > lack->bytes + spare)
			break;
		if (wfs_evict_object_locked(store, object)) {
			bytes += cost;
			files++;
		}
	}
	pthread_mutex_unlock(&store->lock);
	return files > 0;
}

static void remember_no_room(struct wfs_store *store, uint64_t bytes)
{
	uint64_t now;
	bool say;

	pthread_mutex_lock(&store->lock);
	now = wfs_now_ns(); /* not before: another may have been later */
	if (now >= store->no_room_until || bytes < store->no_room_size)
		store->no_room_size = bytes;
	store->no_room_until = now + WFS_BUSY_NS;
	say = !store->no_room_logged || now - store->no_room_logged > LOG_NS;
	if (say)
		store->no_room_logged = now;
	pthread_mutex_unlock(&store->lock);
	if (say)
		wfs_info("no room in the arena for a file of %llu bytes, all "
			 "that could go is in use: serving it by reads",
			 (unsigned long long)bytes);
}

bool wfs_room_is_short_locked(const struct wfs_store *store, uint64_t size)
{
	uint64_t cost = wfs_arena_cost(size);

	if (cost > store->arena.bytes)
		return true;
	return store->no_room_until && cost >= store->no_room_size &&
	       wfs_now_ns() < store->no_room_until;
}

int wfs_room_take(struct wfs_store *store, uint64_t bytes, bool evict)
{
	struct lack lack;

	while (!take(store, bytes, &lack)) {
		if (!evict)
			return -ENOSPC;
		if (await_settled(store, &lack))
			continue;
		if (!evict_some(store, &lack)) {
			remember_no_room(store, bytes);
			return -ENOSPC;
		}
		wfs_budget_freed(&store->budget);
	}
	return 0;
}

void wfs_room_settle(struct wfs_store *store, uint64_t bytes, bool allocated)
{
	wfs_budget_settle(&store->budget, bytes, allocated);
	pthread_mutex_lock(&store->lock);
	store->reserved -= bytes;
	store->settled++;
	if (!allocated)
		store->files--;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

/* Returns when the keeper does not read the object any more. */
static void wait_for_keeper(struct wfs_store *store,
			    const struct wfs_object *object)
{
	while (store->digesting == object) {
		atomic_store(&store->digest_stop, true);
		pthread_cond_signal(&store->chores);
		pthread_cond_wait(&store->changed, &store->lock);
	}
}

/* Out of the table and gone; drops the lock meanwhile. */
static void drop_locked(struct wfs_store *store, struct wfs_object *object)
{
	struct wfs_holding *empty;

	wait_for_keeper(store, object);
	wfs_table_remove(&store->table, object);
	empty = wfs_holding_remove_locked(store, object);
	store->resident_files--;
	store->resident_bytes -= object->size;
	store->dropping++;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
	store->exposer.unexpose(store->exposer.ctx, object->id);
	wfs_arena_unlink(&store->arena, object->serial);
	close(object->fd);
	free(object);
	wfs_holdings_free(empty);
	pthread_mutex_lock(&store->lock);
	store->files--;
	store->dropping--;
	pthread_cond_broadcast(&store->changed);
}

bool wfs_evict_object_locked(struct wfs_store *store, struct wfs_object *object)
{
	bool idle;

	wfs_list_remove(object);
	object->state = WFS_EVICTING;
	pthread_mutex_unlock(&store->lock);
	idle = wfs_arena_idle(object->fd);
	pthread_mutex_lock(&store->lock);
	if (!idle) {
		object->state = WFS_RESIDENT;
		object->asked_at = wfs_now_ns();
		wfs_list_add(object->doomed ? &store->doomed : &store->busy,
			     object);
		pthread_cond_broadcast(&store->changed);
		return false;
	}
	store->evicted_files++;
	store->evicted_bytes += object->size;
	drop_locked(store, object);
	return true;
}

void wfs_evict_all_locked(struct wfs_store *store)
{
	uint64_t *keys wfs_autofree = NULL;
	size_t n = wfs_table_keys(&store->table, 0, 0, &keys);

	for (size_t i = 0; i < n; i++) {
		struct wfs_object *object =
			wfs_object_find_locked(store, keys[i]);

		if (!object)
			continue;
		if (object->users)
			store->used_files--;
		wfs_list_remove(object);
		object->state = WFS_EVICTING;
		drop_locked(store, object);
	}
	while (store->dropping)
		pthread_cond_wait(&store->changed, &store->lock);
}
