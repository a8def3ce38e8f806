/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lane.h.
 */
#include "transport/rdma/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/link.h"

#define SLOTS	 2		/* what the fetch has under way */
#define STALL_NS 10000000000ull /* no READ takes as long */

#define TOLD_SHIFT 8 /* how many READs a completion tells of */

/* A request under way, or refused already. */
struct slot {
	struct wfs_slab_piece *piece;
	uint32_t tag, len;
	uint32_t status;	/* enum wfs_wire_status */
	uint8_t unposted, left; /* of its READs */
	uint64_t posted;	/* ns: the first of them */
	bool lands;		/* not in the piece, but where it belongs … */
	bool in_ring;		/* … in device memory */
	bool torn;
	struct wfs_rdma_plan plan;
	struct ibv_sge to[WFS_RDMA_READS];
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
	wfs_debug("seed '%s': RDMA to %s port %u ends: %llu chunks landed "
		  "where they belong, %llu were copied",
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

/* By the next way where one leads nowhere, until all were tried. */
static int connect_lane(struct lane *lane, const atomic_bool *stop,
			struct wfs_err *err)
{
	bool again = true;
	int rc = 0;

	while (again) {
		rc = wfs_rdma_peer_way(lane->peer, stop, &lane->way, err);
		if (rc)
			return rc;
		wfs_rdma_link_close(&lane->link);
		rc = wfs_rdma_link_open(&lane->link, lane->peer->label,
					&lane->way, stop, err);
		again = !lane->way.no_route &&
			(rc == -ENETUNREACH || rc == -EHOSTUNREACH);
		if (again)
			wfs_rdma_peer_no_route(lane->peer, &lane->way);
	}
	if (rc == -EACCES)
		wfs_rdma_peer_forget(lane->peer, lane->way.session);
	return rc;
}

static int lane_open(void *peer_ctx, const atomic_bool *stop, void **ret_conn,
		     struct wfs_err *err)
{
	struct lane *lane = wfs_calloc(1, sizeof(*lane));
	int rc;

	lane->peer = peer_ctx;
	lane->link.stop_fd = -1;
	rc = connect_lane(lane, stop, err);
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

	if (n && slot->unposted == slot->plan.count)
		slot->posted = wfs_now_ns();
	for (unsigned i = 0; i < n; i++) {
		unsigned at = slot->plan.count - slot->unposted--;
		const struct wfs_rdma_read *read = &slot->plan.reads[at];

		chain[i] = (struct ibv_send_wr){
			.wr_id = (uint64_t)(slot - lane->slots),
			.next = &chain[i + 1],
			.sg_list = &slot->to[at],
			.num_sge = 1,
			.opcode = IBV_WR_RDMA_READ,
		};
		chain[i].wr.rdma.remote_addr = read->address;
		chain[i].wr.rdma.rkey = read->rkey;
		/*
		 * The cell is looked at when all the bytes have come: what is
		 * only asked for in order may be fetched from memory in another
		 * one.
		 */
		if (slot->plan.live && !slot->unposted)
			chain[i].send_flags = IBV_SEND_FENCE;
	}
	/* They complete in order: the last one tells of all. */
	if (n) {
		chain[n - 1].send_flags |= IBV_SEND_SIGNALED;
		chain[n - 1].wr_id |= (uint64_t)n << TOLD_SHIFT;
	}
	return n;
}

/* Posts as many READs as the devices allow, with one call; the rest waits. */
static int post(struct lane *lane)
{
	struct ibv_send_wr chain[WFS_LINK_WORK + 1], *bad;
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

/* Where its READs go, in their order; the last one beside the chunk. */
static void aim_reads(struct slot *slot, uint64_t to, uint32_t key)
{
	const struct wfs_rdma_plan *plan = &slot->plan;

	for (unsigned i = 0; i < plan->count; i++) {
		bool last = i + 1 == plan->count;

		slot->to[i] = (struct ibv_sge){
			.addr = last ? (uintptr_t)WFS_SLAB_DIGEST(slot->piece) :
				       to,
			.length = plan->reads[i].len,
			.lkey = last ? slot->piece->key : key,
		};
		to += plan->reads[i].len;
	}
	slot->unposted = slot->left = (uint8_t)plan->count;
}

/* Whether the chunk lands where it belongs. */
static bool aim(struct lane *lane, struct slot *slot,
		const struct wfs_lane_ask *ask)
{
	void *to = slot->piece->bytes;
	uint32_t key = slot->piece->key;

	slot->lands = ask->to && wfs_grounds_find(&lane->link.device->grounds,
						  ask->to, ask->len, &key);
	if (slot->lands)
		to = ask->to;
	aim_reads(slot, (uintptr_t)to, key);
	return slot->lands;
}

/*
 * The same of what goes to device memory, and nowhere else; nobody can look at
 * a digest of it there.
 */
static bool aim_at_ring(struct lane *lane, struct slot *slot,
			const struct wfs_lane_ask *ask)
{
	uint32_t key;

	slot->lands = slot->in_ring =
		slot->plan.live &&
		wfs_rings_find(&lane->link.device->rings, ask->ring, &key);
	if (slot->lands)
		aim_reads(slot, ask->ring->address + ask->ring_at, key);
	else
		slot->status = WFS_WIRE_NOT_HELD;
	return slot->lands;
}

static int lane_ask(void *conn, const struct wfs_lane_ask *ask)
{
	struct lane *lane = conn;
	struct slot *slot = &lane->slots[(lane->first + lane->used) % SLOTS];
	const struct wfs_rdma_want want = { .id = ask->id,
					    .off = ask->off,
					    .len = ask->len,
					    .rail = lane->way.rail };
	int rc = wfs_rdma_peer_find(lane->peer, lane->way.session, &want,
				    &slot->plan);

	if (rc == -EPERM)
		return -ECONNRESET;
	if (rc && rc != -ENODATA)
		return rc;
	slot->tag = ask->tag;
	slot->len = ask->len;
	slot->status = rc ? WFS_WIRE_NOT_HELD : WFS_WIRE_OK;
	slot->unposted = slot->left = 0;
	slot->lands = slot->in_ring = slot->torn = false;
	lane->used++;
	if (rc)
		return 0;
	return ask->ring ? aim_at_ring(lane, slot, ask) : aim(lane, slot, ask);
}

static bool lane_reaches(void *conn, const struct wfs_landing_ring *ring)
{
	struct lane *lane = conn;

	return wfs_rings_may_find(&lane->link.device->rings, ring);
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
		int over = wfs_rdma_link_over(&lane->link);

		if (over)
			return over;
		wfs_rdma_peer_pause(lane->peer, &lane->way);
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
	if (!slot->left) {
		wfs_tally_read(tally_of(lane), slot->len,
			       wfs_now_ns() - slot->posted);
		wfs_local_count(lane->way.local, slot->len);
	}
	lane->posted -= told;
	return post(lane);
}

/*
 * Of memory that its owner changes: the seed's other ways know whether that is
 * over, or is another epoch now.
 */
static void check_epoch(const struct lane *lane, struct slot *slot)
{
	uint64_t epoch = wfs_get_le64(WFS_SLAB_DIGEST(slot->piece));

	if (slot->status != WFS_WIRE_OK || !slot->plan.live ||
	    epoch == slot->plan.epoch)
		return;
	wfs_debug("seed '%s': its memory has epoch %llu, not %llu any more",
		  lane->peer->label, (unsigned long long)epoch,
		  (unsigned long long)slot->plan.epoch);
	wfs_tally_retry(tally_of(lane), 1);
	slot->status = WFS_WIRE_NOT_HELD;
	slot->torn = true;
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
	check_epoch(lane, slot);
	*ret_answer = (struct wfs_wire_answer){
		.tag = slot->tag,
		.bare = slot->plan.live,
		.torn = slot->torn,
		.status = slot->status,
		.len = slot->len,
	};
	if (slot->status == WFS_WIRE_OK && !slot->plan.live)
		memcpy(ret_answer->digest, WFS_SLAB_DIGEST(slot->piece),
		       sizeof(ret_answer->digest));
	if (slot->status != WFS_WIRE_OK)
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
	if (slot->status == WFS_WIRE_OK && slot->in_ring)
		wfs_tally_landed(tally_of(lane), slot->len);
	if (slot->status == WFS_WIRE_OK)
		*(slot->lands ? &lane->landed : &lane->copied) += 1;
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
	.reaches = lane_reaches,
	.open = lane_open,
	.ask = lane_ask,
	.head = lane_head,
	.body = lane_body,
	.stop = lane_stop,
	.close = lane_close,
};
