/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine has for RDMA, told without using it.
 */
#ifndef WFS_TRANSPORT_RDMA_RDMA_H
#define WFS_TRANSPORT_RDMA_RDMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/* A port of a device that an address of this machine leads to. */
struct wfs_rdma_port {
	char device[64];
	char address[64]; /* numeric */
	char state[32];	  /* "ACTIVE", "DOWN" …, as the kernel says */
	bool active;
	unsigned mtu;	     /* bytes of a packet; 0: unknown */
	bool no_gid;	     /* RoCE, and none of its GIDs is of its address */
	unsigned reads;	     /* under way on one connection, at most */
	uint64_t region_max; /* bytes of memory registered as one */
	int gpu_error;	     /* why it registers no memory of GPUs; 0: it may */
};

/*
 * *ret_ports is freed by the caller.  -ENODEV: the kernel has no RDMA device,
 * or none has an address; -ENOENT, -ENOSYS: there is one, and the libraries
 * are missing or too old; each with a sentence.
 */
int wfs_rdma_ports(struct wfs_rdma_port **ret_ports, size_t *ret_count,
		   struct wfs_err *err);

/* Bytes that this process may lock in memory; UINT64_MAX: no limit. */
uint64_t wfs_rdma_lockable(void);

#endif
