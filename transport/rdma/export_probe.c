/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are the nodes there still?  One that lost its power says no goodbye.  Every
 * few seconds a write of no bytes goes to each that said it may; it costs the
 * node's processors nothing, and when nobody answers the device says so after
 * its retries.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"

#define NS_PER_S 1000000000ull
#define EACH_NS	 (2 * NS_PER_S)
#define PATIENCE (60 * NS_PER_S) /* a device gives up long before */

static void end_vanished(struct wfs_exporter *exporter, size_t at,
			 const char *why)
{
	const struct export_conn *conn = &exporter->conns[at];

	wfs_info("RDMA: a node on '%s' is gone: %s",
		 exporter->rails[conn->rail].base.device, why);
	pthread_mutex_lock(&exporter->lock);
	exporter->vanished++;
	pthread_mutex_unlock(&exporter->lock);
	wfs_export_end_conn(exporter, at);
}

static void take_completion(struct wfs_exporter *exporter,
			    const struct ibv_wc *wc)
{
	for (size_t i = 0; i < exporter->conn_count; i++) {
		struct export_conn *conn = &exporter->conns[i];

		if (conn->serial != wc->wr_id)
			continue;
		conn->probed_at = 0;
		conn->again_at = wfs_now_ns() + EACH_NS;
		if (wc->status != IBV_WC_SUCCESS && !conn->failed)
			end_vanished(
				exporter, i,
				exporter->verbs->ibv_wc_status_str(wc->status));
		return;
	}
}

static int post(const struct export_conn *conn)
{
	struct ibv_send_wr probe = {
		.wr_id = conn->serial,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_send_wr *bad;

	return ibv_post_send(conn->id->qp, &probe, &bad);
}

void wfs_export_probe(struct wfs_exporter *exporter)
{
	uint64_t now = wfs_now_ns();
	struct ibv_wc wc;

	for (size_t i = 0; i < exporter->rail_count; i++)
		while (exporter->rails[i].cq &&
		       ibv_poll_cq(exporter->rails[i].cq, 1, &wc) > 0)
			take_completion(exporter, &wc);
	for (size_t i = exporter->conn_count; i-- > 0;) {
		struct export_conn *conn = &exporter->conns[i];

		if (!conn->probed || !conn->established || conn->failed)
			continue;
		if (conn->probed_at && now > conn->probed_at + PATIENCE) {
			end_vanished(exporter, i, "it is silent");
		} else if (!conn->probed_at && now >= conn->again_at) {
			int error = post(conn);

			if (error)
				end_vanished(exporter, i, strerror(error));
			else
				conn->probed_at = now;
		}
	}
}
