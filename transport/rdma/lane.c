/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lane.h.
 */
#include "transport/rdma/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "transport/rdma/link.h"

#define SLOTS	 2		/* what the fetch has under way */
#define STALL_NS 10000000000ull /* no READ takes as long */

#define READS	   2 /* for a request */
#define TOLD_SHIFT 8 /* how many READs a completion tells of */

/* A request under way, or refused already. */
struct slot {
	struct wfs_slab_piece *piece;
	uint32_t tag, len;
	uint32_t status;	/* enum wfs_wire_status */
	uint8_t unposted, left; /* of its READs: the chunk's, its digest's */
	uint64_t posted;	/* ns: the first of them */
	bool lands;		/* not in the piece, but where it belongs */
	uint64_t chunk, digest; /* addresses of the seed's */
	uint32_t rkey;
	struct ibv_sge to[READS];
};

struct lane {
	struct wfs_rdma_peer *peer;
	struct wfs_rdma_way way;
	struct wfs_rdma_link link; /* its stop_fd: from any thread */
	struct slot slots[SLOTS];
	unsigned first, used;
	unsigned posted;	 /* READs */
	uint64_t landed, copied; /* chunks */
};

static struct wfs_tally *tally_of(const struct lane *lane)
{
	return &lane->peer->tallies[lane->way.rail];
}

static void lane_close(void *conn)
{
	struct lane *lane = conn;

	wfs_tally_retry(tally_of(lane), lane->used);
	/* The memory only after all that may write to it. */
	wfs_rdma_link_cut(&lane->link);
	for (unsigned i = 0; i < SLOTS; i++)
		if (lane->slots[i].piece)
			wfs_slab_give(&lane->link.device->slab,
				      lane->slots[i].piece);
	wfs_rdma_link_close(&lane->link);
	wfs_debug("seed '%s': RDMA to %s port %u ends: %llu chunks landed in "
		  "the arena, %llu were copied",
		  lane->peer->label, lane->way.to.address, lane->way.to.port,
		  (unsigned long long)lane->landed,
		  (unsigned long long)lane->copied);
	free(lane);
}

static int take_pieces(struct lane *lane, struct wfs_err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < SLOTS && !rc; i++)
		rc = wfs_slab_take(&lane->link.device->slab,
				   &lane->slots[i].piece, err);
	return rc;
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
		rc = take_pieces(lane, err);
	if (rc) {
		lane_close(lane);
		return rc;
	}
	wfs_debug("seed '%s': RDMA to %s port %u", lane->peer->label,
		  lane->way.to.address, lane->way.to.port);
	*ret_conn = lane;
	return 0;
}

/* What of a slot may be posted now, behind `chain`; how many READs. */
static unsigned prepare(struct lane *lane, struct slot *slot, unsigned room,
			struct ibv_send_wr *chain)
{
	unsigned n = slot->unposted < room ? slot->unposted : room;

	if (n && slot->unposted == READS)
		slot->posted = wfs_now_ns();
	for (unsigned i = 0; i < n; i++) {
		unsigned at = READS - slot->unposted--;

		chain[i] = (struct ibv_send_wr){
			.wr_id = (uint64_t)(slot - lane->slots),
			.next = &chain[i + 1],
			.sg_list = &slot->to[at],
			.num_sge = 1,
			.opcode = IBV_WR_RDMA_READ,
		};
		chain[i].wr.rdma.remote_addr = at ? slot->digest : slot->chunk;
		chain[i].wr.rdma.rkey = slot->rkey;
	}
	/* They complete in order: the last one tells of all. */
	if (n) {
		chain[n - 1].send_flags = IBV_SEND_SIGNALED;
		chain[n - 1].wr_id |= (uint64_t)n << TOLD_SHIFT;
	}
	return n;
}

/* Posts as many READs as the devices allow, with one call; the rest waits. */
static int post(struct lane *lane)
{
	struct ibv_send_wr chain[SLOTS * READS + 1], *bad;
	unsigned n = 0;

	for (unsigned i = 0; i < lane->used; i++) {
		struct slot *slot = &lane->slots[(lane->first + i) % SLOTS];

		n += prepare(lane, slot, lane->link.reads - lane->posted - n,
			     chain + n);
	}
	if (!n)
		return 0;
	chain[n - 1].next = NULL;
	lane->posted += n;
	return -ibv_post_send(lane->link.id->qp, chain, &bad);
}

/* Whether the chunk lands where it belongs. */
static bool aim(struct lane *lane, struct slot *slot,
		const struct wfs_rdma_place *place,
		const struct wfs_lane_ask *ask)
{
	const struct wfs_slab_piece *piece = slot->piece;
	uint32_t key;

	slot->to[0] = (struct ibv_sge){ .addr = (uintptr_t)piece->bytes,
					.length = ask->len,
					.lkey = piece->key };
	slot->to[1] =
		(struct ibv_sge){ .addr = (uintptr_t)WFS_SLAB_DIGEST(piece),
				  .length = WFS_WIRE_HASH_SIZE,
				  .lkey = piece->key };
	slot->lands = ask->to && wfs_grounds_find(&lane->link.device->grounds,
						  ask->to, ask->len, &key);
	if (slot->lands) {
		slot->to[0].addr = (uintptr_t)ask->to;
		slot->to[0].lkey = key;
	}
	slot->chunk = place->address + ask->off;
	slot->digest =
		place->digests + ask->off / WFS_CHUNK * WFS_WIRE_HASH_SIZE;
	slot->rkey = place->rkeys[lane->way.rail];
	slot->unposted = slot->left = READS;
	return slot->lands;
}

static int lane_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct lane *lane = conn;
	struct slot *slot = &lane->slots[(lane->first + lane->used) % SLOTS];
	struct wfs_rdma_place place;
	int rc = wfs_rdma_peer_find(lane->peer, lane->way.session, ask->id,
				    &place);

	if (rc == -EPERM)
		return -ECONNRESET;
	*slot = (struct slot){
		.piece = slot->piece,
		.tag = ask->tag,
		.len = ask->len,
		.status = rc ? WFS_WIRE_NOT_HELD : WFS_WIRE_OK,
	};
	lane->used++;
	if (rc)
		return 0;
	if (ask->off >= place.size || ask->len > place.size - ask->off ||
	    ask->len > WFS_CHUNK)
		return -EPROTO;
	return aim(lane, slot, &place, ask);
}

/* What becomes of a failure: see the table in transport/PROTOCOL.md. */
static int failed(struct lane *lane, const struct ibv_wc *wc)
{
	wfs_tally_status(tally_of(lane), (int)wc->status);
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

/* Told of READs that came; others may be posted in their place. */
static int complete(struct lane *lane, uint64_t wr_id)
{
	unsigned told = (unsigned)(wr_id >> TOLD_SHIFT);
	struct slot *slot = &lane->slots[wr_id & ((1u << TOLD_SHIFT) - 1)];

	slot->left -= (uint8_t)told;
	if (!slot->left)
		wfs_tally_read(tally_of(lane), slot->len,
			       wfs_now_ns() - slot->posted);
	lane->posted -= told;
	return post(lane);
}

static int lane_head(void *conn, struct wfs_wire_answer *ret_answer)
{
	struct lane *lane = conn;
	struct slot *slot = &lane->slots[lane->first];
	int rc;

	rc = post(lane);
	while (!rc && slot->left) {
		struct ibv_wc wc;

		rc = wfs_rdma_link_wait(&lane->link, STALL_NS, &wc);
		if (rc)
			wfs_tally_wait(tally_of(lane), rc);
		else if (wc.status != IBV_WC_SUCCESS)
			rc = failed(lane, &wc);
		if (!rc)
			rc = complete(lane, wc.wr_id);
	}
	/* The seed may end it before what it did not like comes to be known. */
	if (rc == -ECONNRESET)
		wfs_rdma_peer_forget(lane->peer, lane->way.session);
	if (rc)
		return rc;
	*ret_answer = (struct wfs_wire_answer){
		.tag = slot->tag,
		.status = slot->status,
		.len = slot->len,
	};
	if (slot->status == WFS_WIRE_OK)
		memcpy(ret_answer->digest, WFS_SLAB_DIGEST(slot->piece),
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

	if (slot->status != WFS_WIRE_OK)
		memcpy(to, wfs_wire_status_text(slot->status), len);
	else if (!slot->lands)
		memcpy(to, slot->piece->bytes, len);
	lane->landed += slot->lands;
	lane->copied += !slot->lands && slot->status == WFS_WIRE_OK;
	lane->first = (lane->first + 1) % SLOTS;
	lane->used--;
	return 0;
}

static void lane_stop(void *conn)
{
	wfs_rdma_link_stop(&((struct lane *)conn)->link);
}

const struct wfs_lane_ops wfs_rdma_lane_ops = {
	.lands = true,
	.open = lane_open,
	.ask = lane_ask,
	.head = lane_head,
	.body = lane_body,
	.stop = lane_stop,
	.close = lane_close,
};
