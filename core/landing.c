/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See landing.h.
 */
#include "core/landing.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "core/base/mem.h"

/* Held for reading while those who watch are told. */
static pthread_rwlock_t watching = PTHREAD_RWLOCK_INITIALIZER;
static struct wfs_landing_watch *watches;

struct wfs_landing_ring *wfs_landing_ring_new(int fd, uint64_t address,
					      uint64_t bytes)
{
	struct wfs_landing_ring *ring = wfs_calloc(1, sizeof(*ring));

	ring->fd = fd;
	ring->address = address;
	ring->bytes = bytes;
	atomic_init(&ring->refs, 1);
	atomic_init(&ring->ended, false);
	return ring;
}

struct wfs_landing_ring *wfs_landing_ring_get(struct wfs_landing_ring *ring)
{
	unsigned before = atomic_fetch_add(&ring->refs, 1);

	assert(before > 0);
	(void)before;
	return ring;
}

void wfs_landing_ring_put(struct wfs_landing_ring *ring)
{
	if (!ring || atomic_fetch_sub(&ring->refs, 1) > 1)
		return;
	pthread_rwlock_rdlock(&watching);
	for (struct wfs_landing_watch *w = watches; w; w = w->next)
		if (w->gone)
			w->gone(w->ctx, ring);
	pthread_rwlock_unlock(&watching);
	close(ring->fd);
	free(ring);
}

static void tell_to_look(void)
{
	pthread_rwlock_rdlock(&watching);
	for (struct wfs_landing_watch *w = watches; w; w = w->next)
		if (w->look)
			w->look(w->ctx);
	pthread_rwlock_unlock(&watching);
}

void wfs_landing_ring_end(struct wfs_landing_ring *ring)
{
	atomic_store(&ring->ended, true);
	tell_to_look();
}

void wfs_landing_stop(struct wfs_landing *landing, int why)
{
	atomic_store(&landing->stopped, why);
	tell_to_look();
}

int wfs_landing_why_stop(const struct wfs_landing *landing)
{
	int why = atomic_load(&landing->stopped);

	if (!why && atomic_load(&landing->ring->ended))
		why = -ECANCELED;
	if (!why && landing->deadline_ns &&
	    wfs_now_ns() >= landing->deadline_ns)
		why = -ETIMEDOUT;
	return why;
}

void wfs_landing_watch(struct wfs_landing_watch *watch)
{
	pthread_rwlock_wrlock(&watching);
	watch->next = watches;
	watches = watch;
	pthread_rwlock_unlock(&watching);
}

void wfs_landing_unwatch(struct wfs_landing_watch *watch)
{
	struct wfs_landing_watch **at = &watches;

	pthread_rwlock_wrlock(&watching);
	while (*at && *at != watch)
		at = &(*at)->next;
	if (*at)
		*at = watch->next;
	pthread_rwlock_unlock(&watching);
}
