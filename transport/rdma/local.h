/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of this node that it reads by.
 *
 * One table for the process, from when it is first asked for until nobody holds
 * devices any more (device.h).  A thread watches them: when a port goes down,
 * or its device, or its address, that is said in one line, its connections end
 * at once, and none is made by it until it is there again.
 */
#ifndef WFS_TRANSPORT_RDMA_LOCAL_H
#define WFS_TRANSPORT_RDMA_LOCAL_H

#include <netinet/in.h>
#include <stdatomic.h>

#include "transport/rdma/verbs.h"

#define WFS_LOCALS_MAX WFS_RAILS_MAX

union wfs_rdma_address {
	struct sockaddr base;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* -EINVAL: it is no numeric address. */
int wfs_rdma_address_parse(const char *text, uint16_t port,
			   union wfs_rdma_address *ret);

struct wfs_local {
	char device[64];
	char address[64]; /* numeric */
	union wfs_rdma_address from;
	unsigned prefix; /* bits that its network has in common */
	unsigned links;	 /* connected now */
	int node;	 /* NUMA; -1: unknown */
	uint8_t port;	 /* of the device */
	bool near;	 /* to the memory that this process gets */
	bool up;
	uint64_t up_since; /* ns */
	uint64_t bytes;	   /* of chunks, that came by it */
};

/*
 * All there ever were, each with an index of its own for good.  0: none, or
 * they cannot be watched, and the kernel chooses.  `verbs` NULL: they are only
 * looked at, if anybody read by them yet.
 */
size_t wfs_locals(const struct wfs_verbs *verbs,
		  struct wfs_local ret[WFS_LOCALS_MAX]);
/* Does that address lie in the port's own network? */
bool wfs_local_reaches(const struct wfs_local *local,
		       const union wfs_rdma_address *to);
/* Chunks came by it. */
void wfs_local_count(unsigned index, uint64_t bytes);

/*
 * A connection by that port: `lost` is called, at once or later, from any
 * thread, until it left, with why it is of no use any more.
 */
struct wfs_local_link {
	void (*lost)(struct wfs_local_link *link, int error);
	const struct ibv_context *context;
	uint32_t qp_num;
	unsigned index;
	struct wfs_local_link *next;
};
void wfs_local_join(struct wfs_local_link *link);
void wfs_local_leave(struct wfs_local_link *link);

/* Nobody holds devices any more.  No call above is under way. */
void wfs_locals_end(void);

#endif
