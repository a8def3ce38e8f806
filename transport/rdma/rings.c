/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rings.h.
 */
#include "transport/rdma/rings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"

struct wfs_ring_mr {
	struct wfs_ring_mr *next;
	const struct wfs_landing_ring *ring;
	enum {
		RING_BUSY, /* being registered */
		RING_READY,
		RING_REFUSED,
	} state;
	uint32_t key;
	void *registered;
};

bool wfs_rings_is_final(int error)
{
	return error == EOPNOTSUPP || error == EPROTONOSUPPORT ||
	       error == ENOSYS;
}

static void let_go(struct wfs_rings *rings, struct wfs_ring_mr *mr)
{
	if (mr->state == RING_READY)
		rings->registrar->remove(rings->registrar->ctx, mr->registered);
	free(mr);
}

static struct wfs_ring_mr **find_locked(struct wfs_rings *rings,
					const struct wfs_landing_ring *ring)
{
	struct wfs_ring_mr **at = &rings->first;

	while (*at && (*at)->ring != ring)
		at = &(*at)->next;
	return at;
}

/* Nothing lands there, so no thread registers it either. */
static void gone(void *ctx, const struct wfs_landing_ring *ring)
{
	struct wfs_rings *rings = ctx;
	struct wfs_ring_mr **at, *mr;

	pthread_mutex_lock(&rings->lock);
	at = find_locked(rings, ring);
	mr = *at;
	if (mr)
		*at = mr->next;
	pthread_mutex_unlock(&rings->lock);
	if (mr)
		let_go(rings, mr);
}

void wfs_rings_init(struct wfs_rings *rings,
		    const struct wfs_registrar *registrar, const char *label)
{
	*rings = (struct wfs_rings){
		.registrar = registrar,
		.label = label,
		.watch = { .gone = gone, .ctx = rings },
	};
	pthread_mutex_init(&rings->lock, NULL);
	pthread_cond_init(&rings->changed, NULL);
	wfs_landing_watch(&rings->watch);
}

void wfs_rings_clear(struct wfs_rings *rings)
{
	wfs_landing_unwatch(&rings->watch);
	while (rings->first) {
		struct wfs_ring_mr *mr = rings->first;

		rings->first = mr->next;
		let_go(rings, mr);
	}
	pthread_cond_destroy(&rings->changed);
	pthread_mutex_destroy(&rings->lock);
}

static void tell(const struct wfs_rings *rings,
		 const struct wfs_landing_ring *ring, int error)
{
	unsigned long long bytes = ring->bytes;

	if (error)
		wfs_warn("RDMA: '%s' registers no memory of GPUs (%s): what is "
			 "for one goes by this host's; README.md says what "
			 "that takes",
			 rings->label, strerror(error));
	else
		wfs_info("RDMA: '%s' registered %llu bytes of a GPU's memory",
			 rings->label, bytes);
}

/* Drops the lock meanwhile: others who want it wait. */
static struct wfs_ring_mr *add_locked(struct wfs_rings *rings,
				      const struct wfs_landing_ring *ring)
{
	const struct wfs_registrar *registrar = rings->registrar;
	struct wfs_ring_mr *mr = wfs_calloc(1, sizeof(*mr));
	int error = 0;

	mr->ring = ring;
	mr->state = RING_BUSY;
	mr->next = rings->first;
	rings->first = mr;
	pthread_mutex_unlock(&rings->lock);
	mr->registered = registrar->add_ring(registrar->ctx, ring, &mr->key);
	if (!mr->registered)
		error = errno;
	pthread_mutex_lock(&rings->lock);
	mr->state = error ? RING_REFUSED : RING_READY;
	rings->refuses |= wfs_rings_is_final(error);
	if (!error || !rings->warned)
		tell(rings, ring, error);
	rings->warned |= error != 0;
	pthread_cond_broadcast(&rings->changed);
	return mr;
}

bool wfs_rings_find(struct wfs_rings *rings,
		    const struct wfs_landing_ring *ring, uint32_t *ret_key)
{
	struct wfs_ring_mr *mr;
	bool ready;

	pthread_mutex_lock(&rings->lock);
	mr = *find_locked(rings, ring);
	if (!mr && !rings->refuses)
		mr = add_locked(rings, ring);
	while (mr && mr->state == RING_BUSY)
		pthread_cond_wait(&rings->changed, &rings->lock);
	ready = mr && mr->state == RING_READY;
	if (ready)
		*ret_key = mr->key;
	pthread_mutex_unlock(&rings->lock);
	return ready;
}

bool wfs_rings_may_find(struct wfs_rings *rings,
			const struct wfs_landing_ring *ring)
{
	const struct wfs_ring_mr *mr;
	bool may;

	pthread_mutex_lock(&rings->lock);
	mr = *find_locked(rings, ring);
	may = mr ? mr->state != RING_REFUSED : !rings->refuses;
	pthread_mutex_unlock(&rings->lock);
	return may;
}
