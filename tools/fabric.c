/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fabric.h.
 */
#include "tools/fabric.h"

#include "transport/rdma/lane.h"
#include "transport/rdma/peer.h"

static void *new_rdma_peer(const struct wfs_control *control)
{
	return wfs_rdma_peer_new(control);
}

static void free_rdma_peer(void *peer)
{
	wfs_rdma_peer_free(peer);
}

static void report_rdma_peer(void *peer, struct wfs_text *text)
{
	wfs_rdma_peer_report(peer, text);
}

static void measure_rdma_peers(void *const *peers, const char *const *seeds,
			       size_t count, enum wfs_metric_form form,
			       struct wfs_text *text)
{
	wfs_rdma_peers_measure((struct wfs_rdma_peer *const *)peers, seeds,
			       count, form, text);
}

const struct wfs_remote_fabric wfs_rdma_fabric = {
	.ops = &wfs_rdma_lane_ops,
	.peer_new = new_rdma_peer,
	.peer_free = free_rdma_peer,
	.report = report_rdma_peer,
	.measure = measure_rdma_peers,
};
