/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected queue pair of the node's, with its completion queue: made, waited
 * for, ended.  Nothing here knows of chunks.
 */
#ifndef WFS_TRANSPORT_RDMA_LINK_H
#define WFS_TRANSPORT_RDMA_LINK_H

#include <stdatomic.h>

#include "transport/rdma/device.h"
#include "transport/rdma/local.h"
#include "transport/rdma/peer.h"
#include "transport/rdma/verbs.h"

#define WFS_LINK_WORK 16 /* READs posted at once, at most */

struct wfs_rdma_link {
	const struct wfs_verbs *verbs;
	struct rdma_event_channel *events;
	struct rdma_cm_id *id;
	struct wfs_rdma_device *device; /* known once connected */
	struct ibv_comp_channel *completions;
	struct ibv_cq *cq;
	unsigned reads; /* under way at once, as both devices allow */
	int stop_fd;	/* an eventfd */
	bool armed;	/* a completion will be told */
	struct wfs_local_link local;
	atomic_int lost; /* a negative errno: why it is of no use any more */
};

/*
 * Connects as `way` says; ends soon after *stop was set.  -EACCES: the seed
 * refuses the session; others with a sentence.  wfs_rdma_link_close also when
 * it failed.
 */
int wfs_rdma_link_open(struct wfs_rdma_link *link, const char *label,
		       const struct wfs_rdma_way *way, const atomic_bool *stop,
		       struct wfs_err *err);

/*
 * The next completion; spins a little before it sleeps.  -ETIMEDOUT after
 * `timeout_ns`, -ECANCELED once stopped, -ECONNRESET when the seed ended the
 * connection, -ENETDOWN when our port went down, -ECONNABORTED when our device
 * says that the queue pair failed.
 */
int wfs_rdma_link_wait(struct wfs_rdma_link *link, uint64_t timeout_ns,
		       struct ibv_wc *ret_wc);

/*
 * 0, or as wfs_rdma_link_wait why it is over: what was under way then may have
 * failed for no other reason, and that is what is heard of first.
 */
int wfs_rdma_link_over(const struct wfs_rdma_link *link);

/* From any thread: waits end now. */
void wfs_rdma_link_stop(const struct wfs_rdma_link *link);

/* Nothing posted is under way after that. */
void wfs_rdma_link_cut(struct wfs_rdma_link *link);
/* The same, and gives back the rest.  Fine for {0} with stop_fd -1. */
void wfs_rdma_link_close(struct wfs_rdma_link *link);

#endif
