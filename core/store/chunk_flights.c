/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that are nowhere in the cache: on their way straight to a reader's
 * memory, where others who want them too wait for them and copy them; or
 * somewhere else on this node, from where they are copied; or far away.
 *
 * Who flies waits for nobody but those who copy from it, so that no two wait
 * for each other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/store/chunks_inner.h"

/* Chunks that a thread keeps for others, at most. */
#define KEPT 16
/* Of those such that others want more of: a stretch has one at either end. */
#define KEPT_ENDS 2

/* Of this thread: does it hold what has come, and that. */
static _Thread_local bool holding;
static _Thread_local struct wfs_flight *landed;
static _Thread_local struct wfs_chunk *kept[KEPT];
static _Thread_local unsigned kept_count, kept_ends;

static struct wfs_flight *find_locked(const struct wfs_chunks *chunks,
				      const struct wfs_region *region,
				      uint64_t off)
{
	struct wfs_flight *flight = chunks->flights;

	while (flight && (flight->error || flight->region != region ||
			  off < flight->off || off >= flight->end))
		flight = flight->next;
	return flight;
}

bool wfs_flight_has_locked(const struct wfs_chunks *chunks,
			   const struct wfs_region *region, uint64_t index)
{
	return find_locked(chunks, region, index * WFS_CHUNK_BYTES);
}

void wfs_flight_add_locked(struct wfs_chunks *chunks, struct wfs_region *region,
			   void *to, size_t len, uint64_t off,
			   struct wfs_flight **ret_flight)
{
	struct wfs_flight *flight = wfs_calloc(1, sizeof(*flight));

	flight->region = region;
	flight->to = to;
	flight->off = off;
	flight->end = off + len;
	flight->next = chunks->flights;
	chunks->flights = flight;
	*ret_flight = flight;
}

/* How much of the flight, from `at` on, others on this node have. */
static uint64_t take_held(struct wfs_chunks *chunks,
			  const struct wfs_flight *flight, uint64_t at)
{
	const struct wfs_chunks_holder *holder = &chunks->holder;

	if (!holder->read ||
	    !holder->read(holder->ctx, flight->region,
			  flight->to + (at - flight->off), WFS_CHUNK_BYTES, at))
		return 0;
	return WFS_CHUNK_BYTES;
}

static int read_rest(const struct wfs_flight *flight, uint64_t from,
		     uint64_t to)
{
	return from == to ? 0 :
			    wfs_region_read_exactly(
				    flight->region,
				    flight->to + (from - flight->off),
				    (size_t)(to - from), from);
}

/* Chunks that are held are copied; those between them come by one read. */
static int fly(struct wfs_chunks *chunks, const struct wfs_flight *flight,
	       uint64_t *ret_held)
{
	uint64_t from = flight->off;
	int rc = 0;

	for (uint64_t at = from; at < flight->end && !rc;
	     at += WFS_CHUNK_BYTES) {
		uint64_t held = take_held(chunks, flight, at);

		if (!held)
			continue;
		*ret_held += held;
		rc = read_rest(flight, from, at);
		from = at + held;
	}
	return rc ? rc : read_rest(flight, from, flight->end);
}

/* Nobody finds it any more, and nobody copies from it. */
static void end_locked(struct wfs_chunks *chunks, struct wfs_flight *flight)
{
	struct wfs_flight **at = &chunks->flights;

	while (*at != flight)
		at = &(*at)->next;
	*at = flight->next;
	while (flight->users)
		pthread_cond_wait(&chunks->changed, &chunks->lock);
	free(flight);
}

int wfs_flight_run(struct wfs_chunks *chunks, struct wfs_flight *flight)
{
	uint64_t held = 0;
	int rc = fly(chunks, flight, &held);

	pthread_mutex_lock(&chunks->lock);
	chunks->held += held;
	flight->error = rc;
	flight->over = true;
	if (flight->users)
		pthread_cond_broadcast(&chunks->changed);
	if (rc || !holding) {
		end_locked(chunks, flight);
	} else {
		flight->own = landed;
		landed = flight;
	}
	wfs_chunks_unlock(chunks);
	return rc;
}

void wfs_chunks_hold(void)
{
	holding = true;
}

/*
 * It stays by itself while others want more of it, but they may have that
 * before what this thread had of it is known.
 */
static bool is_end(const struct wfs_chunk *chunk)
{
	return chunk->done != chunk->valid;
}

static bool is_kept(const struct wfs_chunk *chunk)
{
	for (unsigned i = 0; i < kept_count; i++)
		if (kept[i] == chunk)
			return true;
	return false;
}

bool wfs_chunk_hold_locked(struct wfs_chunk *chunk)
{
	bool end = is_end(chunk);

	if (!holding || kept_count == KEPT || (end && kept_ends == KEPT_ENDS) ||
	    is_kept(chunk) || !wfs_chunk_is_far(chunk->region))
		return false;
	kept_ends += end;
	kept[kept_count++] = chunk;
	return true;
}

void wfs_chunks_let_go(struct wfs_chunks *chunks)
{
	holding = false;
	kept_ends = 0;
	while (kept_count) {
		struct wfs_chunk *chunk = kept[--kept_count];

		pthread_mutex_lock(&chunks->lock);
		wfs_chunk_unuse_locked(chunks, chunk);
		wfs_chunks_unlock(chunks);
	}
	while (landed) {
		struct wfs_flight *flight = landed;

		landed = flight->own;
		pthread_mutex_lock(&chunks->lock);
		end_locked(chunks, flight);
		wfs_chunks_unlock(chunks);
	}
}

/* Bytes of a flight, once it is over. */
static int join_locked(struct wfs_chunks *chunks, struct wfs_flight *flight,
		       void *buf, size_t len, uint64_t off)
{
	int rc = 0;

	flight->users++;
	chunks->waited += !flight->over;
	while (!flight->over && !chunks->stopped)
		pthread_cond_wait(&chunks->changed, &chunks->lock);
	rc = flight->over ? flight->error : -ESHUTDOWN;
	if (!rc) {
		wfs_chunks_unlock(chunks);
		memcpy(buf, flight->to + (off - flight->off), len);
		pthread_mutex_lock(&chunks->lock);
	}
	if (--flight->users == 0)
		pthread_cond_broadcast(&chunks->changed);
	return rc;
}

int wfs_chunk_obtain(struct wfs_chunks *chunks, struct wfs_region *region,
		     void *buf, size_t len, uint64_t off)
{
	const struct wfs_chunks_holder *holder = &chunks->holder;
	struct wfs_flight *flight;
	int rc = 0;

	if (!wfs_chunk_is_far(region))
		return wfs_region_read_exactly(region, buf, len, off);
	pthread_mutex_lock(&chunks->lock);
	flight = find_locked(chunks, region, off);
	if (flight)
		rc = join_locked(chunks, flight, buf, len, off);
	wfs_chunks_unlock(chunks);
	if (flight)
		return rc;
	if (!holder->read || !holder->read(holder->ctx, region, buf, len, off))
		return wfs_region_read_exactly(region, buf, len, off);
	pthread_mutex_lock(&chunks->lock);
	chunks->held += len;
	wfs_chunks_unlock(chunks);
	return 0;
}

void wfs_chunks_ask(struct wfs_chunks *chunks, struct wfs_chunks_holder holder)
{
	chunks->holder = holder;
}
