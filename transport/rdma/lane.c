/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lane.h.
 */
#include "transport/rdma/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "transport/rdma/link.h"

#define SLOTS	   2		    /* what the fetch has under way */
#define SLOT_BYTES (WFS_CHUNK + 64) /* a chunk, then its digest */
#define STALL_NS   10000000000ull   /* no READ takes as long */

/* A request under way, or refused already. */
struct slot {
	uint32_t tag, len;
	uint32_t status; /* enum wfs_wire_status */
	bool done;
};

struct lane {
	struct wfs_rdma_peer *peer;
	struct wfs_rdma_way way;
	struct wfs_rdma_link link; /* its stop_fd: from any thread */
	uint8_t *bounce;	   /* SLOTS * SLOT_BYTES */
	struct ibv_mr *mr;
	struct slot slots[SLOTS];
	unsigned first, used;
};

static uint8_t *bytes_of(const struct lane *lane, unsigned slot)
{
	return lane->bounce + (size_t)slot * SLOT_BYTES;
}

static void lane_close(void *conn)
{
	struct lane *lane = conn;

	/* The memory only after all that may write to it. */
	wfs_rdma_link_cut(&lane->link);
	if (lane->mr)
		lane->link.verbs->ibv_dereg_mr(lane->mr);
	wfs_rdma_link_close(&lane->link);
	if (lane->bounce)
		munmap(lane->bounce, (size_t)SLOTS * SLOT_BYTES);
	free(lane);
}

/* Memory that a child of ours does not share, for a fork must not move it. */
static int make_bounce(struct lane *lane, struct wfs_err *err)
{
	size_t len = (size_t)SLOTS * SLOT_BYTES;
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return wfs_err_set(err, -ENOMEM, "no memory for RDMA");
	lane->bounce = map;
	madvise(map, len, MADV_DONTFORK);
	lane->mr = lane->link.verbs->ibv_reg_mr_iova(lane->link.pd, map, len,
						     (uintptr_t)map,
						     IBV_ACCESS_LOCAL_WRITE);
	if (lane->mr)
		return 0;
	return wfs_err_set(err, -errno,
			   "cannot register %zu bytes for RDMA: %s; ulimit -l "
			   "unlimited, or LimitMEMLOCK=infinity of a service",
			   len, strerror(errno));
}

static int lane_open(void *peer_ctx, const atomic_bool *stop, void **ret_conn,
		     struct wfs_err *err)
{
	struct lane *lane = wfs_calloc(1, sizeof(*lane));
	int rc;

	lane->peer = peer_ctx;
	lane->link.stop_fd = -1;
	rc = wfs_rdma_peer_way(lane->peer, stop, &lane->way, err);
	if (!rc) {
		rc = wfs_rdma_link_open(&lane->link, lane->peer->label,
					&lane->way, stop, err);
		if (rc == -EACCES)
			wfs_rdma_peer_forget(lane->peer, lane->way.session);
	}
	if (!rc)
		rc = make_bounce(lane, err);
	if (rc) {
		lane_close(lane);
		return rc;
	}
	wfs_debug("seed '%s': RDMA to %s port %u", lane->peer->label,
		  lane->way.to.address, lane->way.to.port);
	*ret_conn = lane;
	return 0;
}

/* Two READs, which complete in order: only the second tells. */
static int post(struct lane *lane, unsigned slot,
		const struct wfs_rdma_place *place,
		const struct wfs_lane_ask *ask)
{
	uint8_t *to = bytes_of(lane, slot);
	struct ibv_sge parts[2] = {
		{ .addr = (uintptr_t)to,
		  .length = ask->len,
		  .lkey = lane->mr->lkey },
		{ .addr = (uintptr_t)(to + WFS_CHUNK),
		  .length = WFS_WIRE_HASH_SIZE,
		  .lkey = lane->mr->lkey },
	};
	struct ibv_send_wr digest = {
		.wr_id = slot,
		.sg_list = &parts[1],
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_READ,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_send_wr chunk = {
		.wr_id = slot,
		.next = &digest,
		.sg_list = &parts[0],
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_READ,
	};
	struct ibv_send_wr *bad;

	chunk.wr.rdma.remote_addr = place->address + ask->off;
	digest.wr.rdma.remote_addr =
		place->digests + ask->off / WFS_CHUNK * WFS_WIRE_HASH_SIZE;
	chunk.wr.rdma.rkey = digest.wr.rdma.rkey = place->rkeys[lane->way.rail];
	return -ibv_post_send(lane->link.id->qp, &chunk, &bad);
}

static int lane_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct lane *lane = conn;
	unsigned at = (lane->first + lane->used) % SLOTS;
	struct wfs_rdma_place place;
	int rc = wfs_rdma_peer_find(lane->peer, lane->way.session, ask->id,
				    &place);

	if (rc == -EPERM)
		return -ECONNRESET;
	lane->slots[at] = (struct slot){
		.tag = ask->tag,
		.len = ask->len,
		.status = rc ? WFS_WIRE_NOT_HELD : WFS_WIRE_OK,
		.done = rc != 0,
	};
	lane->used++;
	if (rc)
		return 0;
	if (ask->off >= place.size || ask->len > place.size - ask->off ||
	    ask->len > WFS_CHUNK)
		return -EPROTO;
	return post(lane, at, &place, ask);
}

/* What becomes of a failure: see the table in transport/PROTOCOL.md. */
static int failed(struct lane *lane, const struct ibv_wc *wc)
{
	wfs_info("seed '%s': a READ failed: %s", lane->peer->label,
		 lane->link.verbs->ibv_wc_status_str(wc->status));
	if (wc->status == IBV_WC_REM_ACCESS_ERR) {
		/* Its memory is another, or our session over. */
		wfs_rdma_peer_forget(lane->peer, lane->way.session);
		return -EKEYREJECTED;
	}
	if (wc->status == IBV_WC_RETRY_EXC_ERR) {
		wfs_rdma_peer_pause(lane->peer, lane->way.rail);
		return -EHOSTUNREACH;
	}
	return wc->status == IBV_WC_WR_FLUSH_ERR ? -ECONNRESET : -EIO;
}

static int lane_head(void *conn, struct wfs_wire_answer *ret_answer)
{
	struct lane *lane = conn;
	struct slot *slot = &lane->slots[lane->first];

	while (!slot->done) {
		struct ibv_wc wc;
		int rc = wfs_rdma_link_wait(&lane->link, STALL_NS, &wc);

		if (!rc && wc.status != IBV_WC_SUCCESS)
			rc = failed(lane, &wc);
		if (rc)
			return rc;
		lane->slots[wc.wr_id].done = true;
	}
	*ret_answer = (struct wfs_wire_answer){
		.tag = slot->tag,
		.status = slot->status,
		.len = slot->len,
	};
	if (slot->status == WFS_WIRE_OK)
		memcpy(ret_answer->digest,
		       bytes_of(lane, lane->first) + WFS_CHUNK,
		       sizeof(ret_answer->digest));
	else
		ret_answer->len =
			(uint32_t)strlen(wfs_wire_status_text(slot->status));
	return 0;
}

static int lane_body(void *conn, void *to, uint32_t len)
{
	struct lane *lane = conn;
	const struct slot *slot = &lane->slots[lane->first];

	memcpy(to,
	       slot->status == WFS_WIRE_OK ?
		       (const void *)bytes_of(lane, lane->first) :
		       wfs_wire_status_text(slot->status),
	       len);
	lane->first = (lane->first + 1) % SLOTS;
	lane->used--;
	return 0;
}

static void lane_stop(void *conn)
{
	wfs_rdma_link_stop(&((struct lane *)conn)->link);
}

const struct wfs_lane_ops wfs_rdma_lane_ops = {
	.open = lane_open,
	.ask = lane_ask,
	.head = lane_head,
	.body = lane_body,
	.stop = lane_stop,
	.close = lane_close,
};
