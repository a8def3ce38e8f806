/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that this node reads with: its protection domain, and the memory
 * that is registered there.
 *
 * Shared by the lanes to all seeds, so that the arena is registered once.  One
 * protection domain is enough: nothing in it may be read or written from afar,
 * the device writes there what our own queue pairs asked for.
 */
#ifndef WFS_TRANSPORT_RDMA_DEVICE_H
#define WFS_TRANSPORT_RDMA_DEVICE_H

#include "transport/rdma/grounds.h"
#include "transport/rdma/rings.h"
#include "transport/rdma/slab.h"
#include "transport/rdma/verbs.h"

struct wfs_rdma_device {
	struct wfs_rdma_device *next;
	const struct wfs_verbs *verbs;
	struct ibv_context *context; /* the library's, never closed */
	char name[64];
	struct ibv_pd *pd;
	struct ibv_device_attr attr;
	struct wfs_registrar registrar;
	struct wfs_grounds grounds;
	struct wfs_rings rings;
	struct wfs_slab slab;
};

/*
 * What is known of devices is kept from the first hold to the last release,
 * by which all queue pairs must be gone.
 */
void wfs_rdma_devices_hold(void);
void wfs_rdma_devices_release(void);

/*
 * The device behind an id; the same as long as they are held.  A negative
 * errno with a sentence.
 */
int wfs_rdma_device_of(const struct wfs_verbs *verbs,
		       struct ibv_context *context,
		       struct wfs_rdma_device **ret_device,
		       struct wfs_err *err);

#endif
