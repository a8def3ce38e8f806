/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes of one-sided READs: a queue pair to a seed's memory.
 *
 * A chunk and its digest are read into memory of the lane, which is registered
 * once, and copied from there to where they belong: a READ that was posted
 * cannot be recalled, and so writes to nobody's memory but the lane's, which
 * goes only after the queue pair.  What the seed does not have in memory the
 * lane refuses as the seed would (WFS_WIRE_NOT_HELD), so that somebody else is
 * asked.
 */
#ifndef WFS_TRANSPORT_RDMA_LANE_H
#define WFS_TRANSPORT_RDMA_LANE_H

#include "transport/fetch/control.h"
#include "transport/fetch/fetch.h"

/* Their peers' ctx is what wfs_rdma_peer_new (peer.h) made. */
extern const struct wfs_lane_ops wfs_rdma_lane_ops;

#endif
