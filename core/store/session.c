/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's life and what an operator does to it: opening, attaching to a
 * mount, evicting on request, numbers.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/text.h"
#include "core/store/chunks.h"
#include "core/store/inner.h"

/* A quarter of the machine, but not more than the cgroup may have at all. */
static uint64_t default_size(struct wfs_budget *budget)
{
	uint64_t memory = wfs_budget_memory(budget);
	uint64_t limit = wfs_budget_limit(budget);

	if (memory == UINT64_MAX)
		memory = 4ull << 30;
	memory /= 4;
	return memory < limit ? memory : limit;
}

/*
 * The kernel sends SIGIO to the holder of a lease that somebody breaks; ours
 * are held for microseconds, and its default would end the process.
 */
static void ignore_sigio(void)
{
	struct sigaction action;

	if (!sigaction(SIGIO, NULL, &action) && action.sa_handler == SIG_DFL) {
		action.sa_handler = SIG_IGN;
		sigaction(SIGIO, &action, NULL);
	}
}

static void init_conds(struct wfs_store *store)
{
	pthread_mutex_init(&store->lock, NULL);
	wfs_cond_init(&store->changed);
	wfs_cond_init(&store->chores);
}

/* Signals are for the threads of the caller. */
static int start_threads(struct wfs_store *store,
			 const struct wfs_store_config *config)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&store->lock);
	rc = wfs_crews_start_locked(store, config);
	if (!rc) {
		rc = -pthread_create(&store->keeper, NULL, wfs_keeper_thread,
				     store);
		store->has_keeper = !rc;
	}
	pthread_mutex_unlock(&store->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int wfs_store_open(const struct wfs_store_config *config,
		   struct wfs_store **ret_store, struct wfs_err *err)
{
	struct wfs_store *store = wfs_calloc(1, sizeof(*store));
	uint64_t size = config->arena_size;
	int rc;

	wfs_budget_init(&store->budget, "");
	if (!size)
		size = default_size(&store->budget);
	rc = wfs_arena_open(size, &store->arena, err);
	if (rc) {
		wfs_budget_free(&store->budget);
		free(store);
		return rc;
	}
	ignore_sigio();
	init_conds(store);
	wfs_table_init(&store->table);
	store->digests = config->digests;
	store->passes_on = config->passes_on;
	store->chunks = config->chunks;
	if (store->chunks)
		wfs_chunks_ask(store->chunks, (struct wfs_chunks_holder){
						      store, wfs_held_read });
	store->digester = wfs_digester_new();
	rc = start_threads(store, config);
	if (rc) {
		wfs_err_set(err, rc, "cannot start the store's threads: %s",
			    strerror(-rc));
		wfs_store_close(store);
		return rc;
	}
	*ret_store = store;
	return 0;
}

void wfs_store_attach(struct wfs_store *store, struct wfs_exposer exposer)
{
	pthread_mutex_lock(&store->lock);
	store->exposer = exposer;
	atomic_store(&store->quit, false);
	if (store->chunks)
		wfs_chunks_start(store->chunks);
	store->attached = true;
	pthread_mutex_unlock(&store->lock);
}

void wfs_store_detach(struct wfs_store *store)
{
	struct wfs_job *job;

	pthread_mutex_lock(&store->lock);
	if (store->attached) {
		store->attached = false;
		atomic_store(&store->quit, true);
		if (store->chunks)
			wfs_chunks_stop(store->chunks);
		while ((job = wfs_crews_queued_locked(store)))
			wfs_job_abort_locked(store, job, -ESHUTDOWN);
		while (store->running || store->reading)
			pthread_cond_wait(&store->changed, &store->lock);
		wfs_evict_all_locked(store);
	}
	pthread_mutex_unlock(&store->lock);
}

void wfs_store_close(struct wfs_store *store)
{
	if (!store)
		return;
	wfs_store_detach(store);
	pthread_mutex_lock(&store->lock);
	store->closing = true;
	pthread_cond_broadcast(&store->chores);
	pthread_mutex_unlock(&store->lock);
	if (store->chunks)
		wfs_chunks_ask(store->chunks, (struct wfs_chunks_holder){ 0 });
	wfs_crews_stop(store);
	if (store->has_keeper)
		pthread_join(store->keeper, NULL);
	wfs_digester_free(store->digester);
	wfs_table_free(&store->table);
	wfs_arena_close(&store->arena);
	wfs_budget_free(&store->budget);
	pthread_cond_destroy(&store->changed);
	pthread_cond_destroy(&store->chores);
	pthread_mutex_destroy(&store->lock);
	free(store->digest_keys);
	free(store);
}

static bool may_be_given_up(const struct wfs_object *object)
{
	const struct wfs_job *job = object->job;

	return object->state == WFS_HYDRATING && job->phase == WFS_JOB_NEW &&
	       !job->wanted && job->queue;
}

void wfs_store_give_up(struct wfs_store *store, uint64_t mask, uint64_t value)
{
	uint64_t *keys wfs_autofree = NULL;
	size_t n;

	pthread_mutex_lock(&store->lock);
	n = wfs_table_keys(&store->table, mask, value, &keys);
	for (size_t i = 0; i < n; i++) {
		struct wfs_object *object =
			wfs_object_find_locked(store, keys[i]);

		if (object && may_be_given_up(object))
			wfs_job_abort_locked(store, object->job, -ECANCELED);
	}
	pthread_mutex_unlock(&store->lock);
}

static uint64_t evict_one(struct wfs_store *store, struct wfs_object *object,
			  bool doom)
{
	uint64_t cost = wfs_arena_cost(object->size);

	if (object->state == WFS_HYDRATING) {
		if (may_be_given_up(object))
			wfs_job_abort_locked(store, object->job, -ECANCELED);
		else
			object->doomed |= doom;
		return 0;
	}
	object->doomed |= doom;
	if (object->users || !wfs_evict_object_locked(store, object))
		return 0;
	return cost;
}

uint64_t wfs_store_evict(struct wfs_store *store, uint64_t mask, uint64_t value,
			 bool doom)
{
	uint64_t *keys wfs_autofree = NULL;
	uint64_t freed = 0;
	size_t n;

	pthread_mutex_lock(&store->lock);
	n = wfs_table_keys(&store->table, mask, value, &keys);
	for (size_t i = 0; i < n; i++) {
		struct wfs_object *object =
			wfs_object_find_locked(store, keys[i]);

		if (object)
			freed += evict_one(store, object, doom);
	}
	store->no_room_until = 0;
	if (store->doomed.head)
		pthread_cond_signal(&store->chores);
	pthread_mutex_unlock(&store->lock);
	if (!mask && store->chunks)
		wfs_chunks_drop(store->chunks, NULL);
	wfs_budget_freed(&store->budget);
	return freed;
}

uint64_t wfs_store_resident_bytes(struct wfs_store *store, uint64_t mask,
				  uint64_t value)
{
	uint64_t bytes = 0;

	pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < 1ul << store->table.bits; i++)
		for (const struct wfs_object *object = store->table.slots[i];
		     object; object = object->chain)
			if ((object->key & mask) == value &&
			    object->state != WFS_HYDRATING)
				bytes += object->size;
	pthread_mutex_unlock(&store->lock);
	return bytes;
}

/* Adds to what is queued; how many files. */
static uint64_t count_queued(const struct wfs_job_queue *queue,
			     struct wfs_store_stats *stats)
{
	uint64_t n = 0;

	for (const struct wfs_job *job = queue->head; job; job = job->next) {
		n++;
		if (job->left > WFS_FILE_WORK)
			stats->queued_bytes += job->left - WFS_FILE_WORK;
	}
	stats->queued_files += n;
	return n;
}

void wfs_store_stats(struct wfs_store *store, struct wfs_store_stats *ret)
{
	uint64_t used = wfs_arena_used(&store->arena);

	pthread_mutex_lock(&store->lock);
	*ret = (struct wfs_store_stats){
		.arena_bytes = store->arena.bytes,
		.arena_used = used,
		.resident_bytes = store->resident_bytes,
		.resident_files = store->resident_files,
		.pinned_files =
			store->used_files + store->busy.n + store->doomed.n,
		.hydrated_bytes = store->hydrated_bytes,
		.hydrated_files = store->hydrated_files,
		.failed = store->failed,
		.evicted_bytes = store->evicted_bytes,
		.evicted_files = store->evicted_files,
		.refused = store->refused,
		.prefetched_files = store->prefetched_files,
		.prefetched_bytes = store->prefetched_bytes,
		.copy_rate = store->crews[WFS_CREW_NEAR].rate.value,
		.copied_bytes = store->copied_bytes,
		.huge = store->arena.huge,
	};
	for (int i = 0; i < WFS_CREWS; i++) {
		count_queued(&store->crews[i].wanted, ret);
		ret->prefetch_queued +=
			count_queued(&store->crews[i].prefetch, ret);
	}
	pthread_mutex_unlock(&store->lock);
}
