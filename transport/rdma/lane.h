/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes of one-sided READs: a queue pair to a seed's memory.
 *
 * A chunk is read straight to where it belongs, if that is a file of the arena
 * that is registered (grounds.h), and otherwise to a piece of a slab, from
 * where it is copied; its digest always goes to the piece.  What is for device
 * memory is read there (rings.h) and nowhere else.  A READ that was
 * posted cannot be recalled: the fetch leaves the chunk's memory to the lane
 * until the answer is there or the lane is closed, which destroys the queue
 * pair first.
 *
 * A lane has its queue pair, its completion queue and its thread to itself,
 * which also compares the digests of what came.  One thread for all of a rail
 * would hold the rail up meanwhile, or hand each chunk to another thread.
 *
 * What the seed does not have in memory the lane refuses as the seed would
 * (WFS_WIRE_NOT_HELD), so that somebody else is asked.
 */
#ifndef WFS_TRANSPORT_RDMA_LANE_H
#define WFS_TRANSPORT_RDMA_LANE_H

#include "transport/fetch/control.h"
#include "transport/fetch/fetch.h"

/* Their peers' ctx is what wfs_rdma_peer_new (peer.h) made. */
extern const struct wfs_lane_ops wfs_rdma_lane_ops;

#endif
