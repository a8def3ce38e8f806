/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory that chunks may land in: the rings (core/landing.h) that are
 * registered with an RDMA device, once each, until nobody holds them any more.
 *
 * A device that registers no memory of other devices (its driver does not, or
 * the kernel, or the library) is not asked again; that is said once.
 */
#ifndef WFS_TRANSPORT_RDMA_RINGS_H
#define WFS_TRANSPORT_RDMA_RINGS_H

#include <pthread.h>
#include <stdbool.h>

#include "core/landing.h"
#include "transport/rdma/registrar.h"

struct wfs_ring_mr;

struct wfs_rings {
	const struct wfs_registrar *registrar;
	const char *label; /* of the device, for messages */
	struct wfs_landing_watch watch;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct wfs_ring_mr *first;
	bool refuses; /* every one */
	bool warned;
};

/* The registrar and the label must outlive it. */
void wfs_rings_init(struct wfs_rings *rings,
		    const struct wfs_registrar *registrar, const char *label);
/* When nothing writes there any more. */
void wfs_rings_clear(struct wfs_rings *rings);

/*
 * Whether bytes may land in that ring, and with what key.  For landings under
 * way only; may wait for the device.
 */
bool wfs_rings_find(struct wfs_rings *rings,
		    const struct wfs_landing_ring *ring, uint32_t *ret_key);
/* Could that be, as far as is known?  Cheap. */
bool wfs_rings_may_find(struct wfs_rings *rings,
			const struct wfs_landing_ring *ring);

/* Does that errno say that no other ring will be registered either? */
bool wfs_rings_is_final(int error);

#endif
