/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk cache's life, and that of chunks that nobody uses: they wait on
 * a list, the oldest first, and a thread that otherwise sleeps drops those
 * whose time is over.
 */
#include <signal.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/text.h"
#include "core/store/chunks_inner.h"

#define KEEP_NS	       60000000000ull
#define WINDOW_KEEP_NS 5000000000ull
#define BYTES_MAX      (1ull << 30)
#define MEMORY_SHARE   32 /* an eighth of a quarter */
#define MEMORY_UNSAID  (4ull << 30)

struct wfs_chunk **wfs_chunk_bucket(const struct wfs_chunks *chunks,
				    const struct wfs_region *region,
				    uint64_t index)
{
	uint64_t hash = ((uintptr_t)region >> 4) * 0x9e3779b97f4a7c15ull;

	hash = (hash ^ index) * 0x9e3779b97f4a7c15ull;
	return &chunks->table[(hash >> 32) & (chunks->buckets - 1)];
}

void wfs_chunk_unhash_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk)
{
	struct wfs_chunk **at;

	if (!chunk->hashed)
		return;
	at = wfs_chunk_bucket(chunks, chunk->region, chunk->index);
	while (*at != chunk)
		at = &(*at)->chain;
	*at = chunk->chain;
	chunk->hashed = false;
}

/* It sleeps only when there is nothing that could become too old. */
static void wake_keeper_locked(struct wfs_chunks *chunks)
{
	if (chunks->keeper_sleeps)
		pthread_cond_signal(&chunks->chores);
}

void wfs_chunk_bury_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk)
{
	wfs_chunk_unhash_locked(chunks, chunk);
	wfs_slot_give_locked(chunks, chunk->slot);
	chunks->kept--;
	chunk->next = chunks->dead;
	chunks->dead = chunk;
	wake_keeper_locked(chunks);
}

void wfs_chunk_idle_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk)
{
	chunk->used_at = wfs_now_ns();
	chunk->prev = chunks->tail;
	chunk->next = NULL;
	if (chunks->tail)
		chunks->tail->next = chunk;
	else
		chunks->head = chunk;
	chunks->tail = chunk;
	wake_keeper_locked(chunks);
}

void wfs_chunk_busy_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk)
{
	if (chunk->prev)
		chunk->prev->next = chunk->next;
	else
		chunks->head = chunk->next;
	if (chunk->next)
		chunk->next->prev = chunk->prev;
	else
		chunks->tail = chunk->prev;
	chunk->prev = chunk->next = NULL;
}

void wfs_chunks_unlock(struct wfs_chunks *chunks)
{
	struct wfs_chunk *dead = wfs_steal_ptr(&chunks->dead);

	pthread_mutex_unlock(&chunks->lock);
	while (dead) {
		struct wfs_chunk *next = dead->next;

		wfs_source_put(dead->region->source);
		free(dead);
		dead = next;
	}
}

void wfs_chunks_drop(struct wfs_chunks *chunks, const struct wfs_source *source)
{
	pthread_mutex_lock(&chunks->lock);
	for (size_t i = 0; i < chunks->buckets; i++) {
		struct wfs_chunk *next, *chunk = chunks->table[i];

		for (; chunk; chunk = next) {
			next = chunk->chain;
			if (source && chunk->region->source != source)
				continue;
			if (chunk->users) {
				wfs_chunk_unhash_locked(chunks, chunk);
				continue;
			}
			wfs_chunk_busy_locked(chunks, chunk);
			wfs_chunk_bury_locked(chunks, chunk);
		}
	}
	wfs_chunks_unlock(chunks);
	wfs_windows_drop(chunks->windows, source);
}

struct wfs_windows *wfs_chunks_windows(struct wfs_chunks *chunks)
{
	return chunks->windows;
}

/* Drops what is too old; when to look again, UINT64_MAX: when called. */
static uint64_t expire_locked(struct wfs_chunks *chunks)
{
	uint64_t now = wfs_now_ns();
	struct wfs_chunk *oldest;

	while ((oldest = chunks->head) &&
	       oldest->used_at + chunks->keep_ns <= now) {
		wfs_chunk_busy_locked(chunks, oldest);
		wfs_chunk_bury_locked(chunks, oldest);
	}
	if (chunks->warm_count && chunks->taken_at + chunks->keep_ns <= now) {
		wfs_slots_shrink_locked(chunks);
		/* What is warm still shares a huge page with what is used. */
		chunks->taken_at = now;
	}
	if (chunks->head)
		return chunks->head->used_at + chunks->keep_ns;
	return chunks->warm_count ? chunks->taken_at + chunks->keep_ns :
				    UINT64_MAX;
}

static void note_windows(void *ctx)
{
	struct wfs_chunks *chunks = ctx;

	pthread_mutex_lock(&chunks->lock);
	chunks->windows_begun = true;
	pthread_cond_signal(&chunks->chores);
	pthread_mutex_unlock(&chunks->lock);
}

static void *keeper_thread(void *arg)
{
	struct wfs_chunks *chunks = arg;

	pthread_mutex_lock(&chunks->lock);
	while (!chunks->closing) {
		uint64_t at = expire_locked(chunks), windows_at;

		chunks->windows_begun = false;
		/* What died is freed without the lock. */
		wfs_chunks_unlock(chunks);
		windows_at = wfs_windows_expire(chunks->windows);
		pthread_mutex_lock(&chunks->lock);
		if (windows_at < at)
			at = windows_at;
		if (chunks->closing || chunks->windows_begun ||
		    (at == UINT64_MAX && (chunks->head || chunks->warm_count)))
			continue;
		chunks->keeper_sleeps = at == UINT64_MAX;
		wfs_cond_wait_until(&chunks->chores, &chunks->lock, at);
		chunks->keeper_sleeps = false;
	}
	pthread_mutex_unlock(&chunks->lock);
	return NULL;
}

static uint64_t default_bytes(struct wfs_budget *budget)
{
	uint64_t memory = wfs_budget_memory(budget);
	uint64_t limit = wfs_budget_limit(budget);

	if (memory == UINT64_MAX)
		memory = MEMORY_UNSAID;
	if (memory > limit)
		memory = limit;
	memory /= MEMORY_SHARE;
	return memory < BYTES_MAX ? memory : BYTES_MAX;
}

static int start_keeper(struct wfs_chunks *chunks)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&chunks->keeper, NULL, keeper_thread, chunks);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	chunks->has_keeper = rc == 0;
	return -rc;
}

int wfs_chunks_open(const struct wfs_chunks_config *config,
		    struct wfs_chunks **ret_chunks, struct wfs_err *err)
{
	struct wfs_chunks *chunks = wfs_calloc(1, sizeof(*chunks));
	uint64_t bytes = config->bytes;
	int rc;

	wfs_budget_init(&chunks->budget, "");
	if (!bytes)
		bytes = default_bytes(&chunks->budget);
	chunks->keep_ns = config->keep_ns ? config->keep_ns : KEEP_NS;
	chunks->windows = wfs_windows_new(chunks->keep_ns < WINDOW_KEEP_NS ?
						  chunks->keep_ns :
						  WINDOW_KEEP_NS,
					  note_windows, chunks);
	pthread_mutex_init(&chunks->lock, NULL);
	wfs_cond_init(&chunks->changed);
	wfs_cond_init(&chunks->chores);
	rc = wfs_slots_open(chunks, bytes);
	for (chunks->buckets = 1; chunks->buckets < chunks->slots;)
		chunks->buckets *= 2;
	chunks->table = wfs_calloc(chunks->buckets, sizeof(*chunks->table));
	if (!rc)
		rc = start_keeper(chunks);
	if (rc) {
		wfs_err_set(err, rc, "cannot make the chunk cache: %s",
			    strerror(-rc));
		wfs_chunks_close(chunks);
		return rc;
	}
	*ret_chunks = chunks;
	return 0;
}

void wfs_chunks_close(struct wfs_chunks *chunks)
{
	if (!chunks)
		return;
	pthread_mutex_lock(&chunks->lock);
	chunks->closing = true;
	pthread_cond_signal(&chunks->chores);
	pthread_mutex_unlock(&chunks->lock);
	if (chunks->has_keeper)
		pthread_join(chunks->keeper, NULL);
	wfs_chunks_drop(chunks, NULL);
	wfs_windows_free(chunks->windows);
	wfs_slots_close(chunks);
	wfs_budget_free(&chunks->budget);
	pthread_cond_destroy(&chunks->changed);
	pthread_cond_destroy(&chunks->chores);
	pthread_mutex_destroy(&chunks->lock);
	free(chunks->table);
	free(chunks);
}

void wfs_chunks_stats(struct wfs_chunks *chunks, struct wfs_chunks_stats *ret)
{
	pthread_mutex_lock(&chunks->lock);
	*ret = (struct wfs_chunks_stats){
		.bytes = chunks->slots * WFS_CHUNK_BYTES,
		.memory = (chunks->slots / WFS_SLAB_CHUNKS -
			   (uint64_t)chunks->cold_count) *
			  WFS_HUGE_PAGE,
		.kept = chunks->kept,
		.fetched = chunks->fetched,
		.served = chunks->served,
		.waited = chunks->waited,
		.held = chunks->held,
		.evicted = chunks->evicted,
	};
	pthread_mutex_unlock(&chunks->lock);
}
