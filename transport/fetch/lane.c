/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's thread: takes chunks, asks for them, and has land.c receive them.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/fetch/inner.h"

#define THREAD	  "fetch" /* as ps and top have it */
#define NS_PER_S  1000000000ull
#define RESTED_NS NS_PER_S	  /* idle that long: it may be closed */
#define MISSED_NS (NS_PER_S / 4)  /* between tries of one who is missed */
#define IDLE_NS	  (60 * NS_PER_S) /* then we close it */

/* Closes the connection; all that was asked for goes back. */
static void drop(struct wfs_lane *lane, int error)
{
	struct wfs_peer *peer = lane->peer;
	struct wfs_fetch *fetch = peer->fetch;
	bool blame;
	void *conn;

	pthread_mutex_lock(&fetch->lock);
	conn = lane->conn;
	lane->conn = NULL;
	pthread_mutex_unlock(&fetch->lock);
	/* What lands by itself may do so until then. */
	if (conn)
		peer->ops->close(conn);
	pthread_mutex_lock(&fetch->lock);
	blame = error && !lane->stopped && !lane->rested;
	for (unsigned i = 0; i < lane->used; i++)
		wfs_task_return_locked(lane, &lane->slots[i], blame);
	lane->used = 0;
	wfs_peer_owes_locked(peer, false, wfs_now_ns());
	lane->stopped = lane->rested = false;
	if (blame)
		wfs_peer_failed_locked(peer, strerror(-error));
	pthread_mutex_unlock(&fetch->lock);
	free(wfs_steal_ptr(&lane->bounce)); /* seldom needed, and large */
	if (blame && fetch->config.lost)
		fetch->config.lost(fetch->config.ctx, peer);
}

/* One lane at a time tries a peer that failed. */
static bool may_open_locked(struct wfs_peer *peer, uint64_t now,
			    uint64_t *until)
{
	uint64_t at = peer->retry_at;

	if (!peer->failures)
		return true;
	if (peer->probing)
		return false;
	if (at > now && at > peer->failed_at + MISSED_NS &&
	    wfs_peer_is_missed_locked(peer, now))
		at = peer->failed_at + MISSED_NS;
	if (at > now) {
		if (at < *until)
			*until = at;
		return false;
	}
	return true;
}

static void open_conn(struct wfs_lane *lane, bool probing)
{
	struct wfs_peer *peer = lane->peer;
	struct wfs_fetch *fetch = peer->fetch;
	struct wfs_err err = { 0 };
	void *conn = NULL;
	int rc;

	pthread_mutex_lock(&fetch->lock);
	peer->opening++;
	wfs_peer_owes_locked(peer, false, wfs_now_ns());
	pthread_mutex_unlock(&fetch->lock);
	rc = peer->ops->open(peer->ctx, &fetch->closing, &conn, &err);
	pthread_mutex_lock(&fetch->lock);
	lane->idle_at = wfs_now_ns();
	peer->opening--;
	wfs_peer_owes_locked(peer, !rc, lane->idle_at);
	if (probing)
		peer->probing = false;
	if (rc && !atomic_load(&fetch->closing))
		wfs_peer_failed_locked(peer, err.text);
	if (!rc)
		lane->conn = conn;
	lane->stopped = false;
	lane->rested = false;
	wfs_rings_look_locked(fetch); /* it may not reach one */
	pthread_mutex_unlock(&fetch->lock);
	if (rc && fetch->config.lost)
		fetch->config.lost(fetch->config.ctx, peer);
}

enum next {
	NEXT_SLEEP,
	NEXT_END,
	NEXT_OPEN,
	NEXT_PROBE,
	NEXT_CLOSE,
	NEXT_ASK,
	NEXT_RECEIVE,
};

/*
 * What to do now.  If nothing, *until is when its peer is to look again, and
 * *own when the lane itself has to.
 */
static enum next look_locked(struct wfs_lane *lane, uint64_t *until,
			     uint64_t *own)
{
	struct wfs_peer *peer = lane->peer;
	uint64_t now = wfs_now_ns();

	*until = *own = UINT64_MAX;
	if (atomic_load(&peer->fetch->closing))
		return NEXT_END;
	if (lane->stopped)
		return NEXT_CLOSE;
	if (peer->quarantine_until > now) {
		*until = peer->quarantine_until;
		return lane->conn ? NEXT_CLOSE : NEXT_SLEEP;
	}
	if (!lane->conn) {
		if (!wfs_lane_pick_locked(lane, true, now, until) ||
		    !may_open_locked(peer, now, until))
			return NEXT_SLEEP;
		if (!peer->failures)
			return NEXT_OPEN;
		peer->probing = true;
		return NEXT_PROBE;
	}
	if (wfs_lane_pick_locked(lane, false, now, until)) {
		lane->rested |= lane->used == 1 &&
				now - lane->idle_at > RESTED_NS;
		return NEXT_ASK;
	}
	if (lane->used)
		return NEXT_RECEIVE;
	*own = lane->idle_at + IDLE_NS + 1;
	return *own > now ? NEXT_SLEEP : NEXT_CLOSE;
}

/* Waits until there is something. */
static enum next next_locked(struct wfs_lane *lane)
{
	uint64_t until, own;
	enum next next = look_locked(lane, &until, &own);

	if (next != NEXT_SLEEP)
		return next;
	do {
		wfs_lane_sleep_locked(lane, until, own);
		next = look_locked(lane, &until, &own);
	} while (next == NEXT_SLEEP);
	/* One that connects took none: with an empty queue it is for a late one. */
	wfs_lane_relieve_locked(lane, until,
				next == NEXT_OPEN ||
					(lane->used && lane->slots[0].hedge));
	return next;
}

/* Sends it, and sees to who is the writer meanwhile. */
static int send_question(struct wfs_lane *lane, struct wfs_slot *slot,
			 struct wfs_lane_ask *question)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	int rc = lane->peer->ops->ask(lane->conn, question);

	if (rc < 0 || !(question->to || question->ring))
		return rc;
	slot->lands = rc > 0;
	if (slot->lands)
		return 0;
	pthread_mutex_lock(&fetch->lock);
	slot->task->writer = NULL;
	pthread_cond_broadcast(&fetch->landed);
	pthread_mutex_unlock(&fetch->lock);
	return 0;
}

/* Asks for the chunk in the newest slot. */
static int ask(struct wfs_lane *lane)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_slot *slot = &lane->slots[lane->used - 1];
	const struct wfs_holder *holder = NULL;
	struct wfs_lane_ask question = { 0 };

	pthread_mutex_lock(&fetch->lock);
	if (slot->task)
		holder = wfs_far_holder_locked(slot->task->batch->far,
					       lane->peer);
	if (!holder) { /* given up between taking and asking */
		if (slot->task)
			wfs_task_return_locked(lane, slot, false);
		lane->used--;
		wfs_peer_owes_locked(lane->peer, false, wfs_now_ns());
		pthread_mutex_unlock(&fetch->lock);
		return 0;
	}
	memcpy(question.id, holder->id, sizeof(question.id));
	question.off = slot->task->index * WFS_CHUNK + slot->task->skip;
	question.len = slot->len;
	question.tag = slot->tag;
	if (lane->peer->ops->lands && wfs_lane_claim_locked(lane, slot)) {
		question.to = slot->task->to;
		if (!question.to)
			question.ring = slot->task->batch->landing->ring;
		question.ring_at = slot->task->ring_at;
	}
	pthread_mutex_unlock(&fetch->lock);
	return send_question(lane, slot, &question);
}

void *wfs_lane_thread(void *arg)
{
	struct wfs_lane *lane = arg;
	struct wfs_fetch *fetch = lane->peer->fetch;
	int rc = 0;

	pthread_setname_np(pthread_self(), THREAD);
	for (;;) {
		enum next next;

		pthread_mutex_lock(&fetch->lock);
		next = next_locked(lane);
		pthread_mutex_unlock(&fetch->lock);
		if (next == NEXT_END)
			break;
		if (next == NEXT_OPEN || next == NEXT_PROBE)
			open_conn(lane, next == NEXT_PROBE);
		else if (next == NEXT_ASK)
			rc = ask(lane);
		else if (next == NEXT_RECEIVE)
			rc = wfs_lane_receive(lane);
		if (rc || next == NEXT_CLOSE)
			drop(lane, rc);
		rc = 0;
	}
	drop(lane, 0);
	return NULL;
}
