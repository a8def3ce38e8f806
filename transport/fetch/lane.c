/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's thread: takes chunks, asks for them, receives what comes.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/fetch/inner.h"

#define NS_PER_S  1000000000ull
#define RESTED_NS NS_PER_S	  /* idle that long: it may be closed */
#define IDLE_NS	  (60 * NS_PER_S) /* then we close it */

/* Where the oldest answer goes, and what its digest must be. */
struct landing {
	uint8_t *to;
	bool bare; /* nothing is known of that */
	enum wfs_digest_algorithm algorithm;
	uint8_t want[WFS_DIGEST_MAX];
};

/* The oldest was answered. */
static void pop_locked(struct wfs_lane *lane)
{
	lane->used--;
	memmove(&lane->slots[0], &lane->slots[1],
		lane->used * sizeof(lane->slots[0]));
	wfs_peer_owes_locked(lane->peer, true);
}

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
	wfs_peer_owes_locked(peer, false);
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
	if (!peer->failures)
		return true;
	if (peer->probing)
		return false;
	if (peer->retry_at > now) {
		if (peer->retry_at < *until)
			*until = peer->retry_at;
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
	wfs_peer_owes_locked(peer, false);
	pthread_mutex_unlock(&fetch->lock);
	rc = peer->ops->open(peer->ctx, &fetch->closing, &conn, &err);
	pthread_mutex_lock(&fetch->lock);
	peer->opening--;
	wfs_peer_owes_locked(peer, !rc);
	if (probing)
		peer->probing = false;
	if (rc && !atomic_load(&fetch->closing))
		wfs_peer_failed_locked(peer, err.text);
	if (!rc)
		lane->conn = conn;
	lane->stopped = false;
	lane->rested = false;
	lane->idle_at = wfs_now_ns();
	pthread_mutex_unlock(&fetch->lock);
	if (rc && fetch->config.lost)
		fetch->config.lost(fetch->config.ctx, peer);
}

enum next {
	NEXT_END,
	NEXT_OPEN,
	NEXT_PROBE,
	NEXT_CLOSE,
	NEXT_ASK,
	NEXT_RECEIVE,
};

/* What to do now; waits until there is something. */
static enum next next_locked(struct wfs_lane *lane)
{
	struct wfs_peer *peer = lane->peer;
	struct wfs_fetch *fetch = peer->fetch;

	for (;;) {
		uint64_t now = wfs_now_ns(), until = UINT64_MAX;

		if (atomic_load(&fetch->closing))
			return NEXT_END;
		if (lane->stopped)
			return NEXT_CLOSE;
		if (peer->quarantine_until > now) {
			if (lane->conn)
				return NEXT_CLOSE;
			until = peer->quarantine_until;
		} else if (!lane->conn) {
			if (wfs_lane_pick_locked(lane, true, &until) &&
			    may_open_locked(peer, now, &until)) {
				bool probe = peer->failures > 0;

				peer->probing |= probe;
				return probe ? NEXT_PROBE : NEXT_OPEN;
			}
		} else if (wfs_lane_pick_locked(lane, false, &until)) {
			lane->rested |= lane->used == 1 &&
					now - lane->idle_at > RESTED_NS;
			return NEXT_ASK;
		} else if (lane->used) {
			return NEXT_RECEIVE;
		} else if (now - lane->idle_at > IDLE_NS) {
			return NEXT_CLOSE;
		} else if (lane->idle_at + IDLE_NS < until) {
			until = lane->idle_at + IDLE_NS + 1;
		}
		fetch->idle += lane->conn != NULL;
		wfs_cond_wait_until(&fetch->work, &fetch->lock, until);
		fetch->idle -= lane->conn != NULL;
	}
}

/* May the lane write to where the chunk belongs?  It is the writer then. */
static bool claim_locked(struct wfs_lane *lane, const struct wfs_slot *slot)
{
	struct wfs_task *task = slot->task;

	if (slot->hedge || task->writer || task->taken)
		return false;
	task->writer = lane;
	return true;
}

/* Sends it, and sees to who is the writer meanwhile. */
static int send_question(struct wfs_lane *lane, struct wfs_slot *slot,
			 struct wfs_lane_ask *question)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	int rc = lane->peer->ops->ask(lane->conn, question);

	if (rc < 0 || !question->to)
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
		wfs_peer_owes_locked(lane->peer, false);
		pthread_mutex_unlock(&fetch->lock);
		return 0;
	}
	memcpy(question.id, holder->id, sizeof(question.id));
	question.off = slot->task->index * WFS_CHUNK;
	question.len = slot->len;
	question.tag = slot->tag;
	if (lane->peer->ops->lands && claim_locked(lane, slot))
		question.to = slot->task->to;
	pthread_mutex_unlock(&fetch->lock);
	return send_question(lane, slot, &question);
}

/* Straight to the reader's memory if that is ours to write to. */
static struct landing prepare(struct wfs_lane *lane,
			      const struct wfs_wire_answer *answer)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_slot *slot = &lane->slots[0];
	struct landing landing = { .bare = lane->peer->ops->bare,
				   .algorithm = WFS_XXH3_128 };
	struct wfs_task *task;

	memcpy(landing.want, answer->digest, sizeof(answer->digest));
	pthread_mutex_lock(&fetch->lock);
	lane->rested = false;
	task = slot->task;
	if (task && task->batch->far->digests) {
		struct wfs_digests *list = task->batch->far->digests;

		landing.bare = false;
		landing.algorithm = list->algorithm;
		memcpy(landing.want, wfs_digests_at(list, task->index),
		       wfs_digest_size(list->algorithm));
	}
	if (task && (slot->lands || claim_locked(lane, slot)))
		landing.to = task->to;
	pthread_mutex_unlock(&fetch->lock);
	if (!landing.to) {
		if (!lane->bounce)
			lane->bounce = wfs_malloc(WFS_CHUNK);
		landing.to = lane->bounce;
	}
	return landing;
}

static bool is_right(const struct landing *landing, uint32_t len)
{
	uint8_t got[WFS_DIGEST_MAX];

	if (landing->bare)
		return true;
	wfs_digest_bytes(landing->algorithm, landing->to, len, got);
	return !memcmp(got, landing->want, wfs_digest_size(landing->algorithm));
}

/* Brings a right chunk from the lane's memory to the reader's. */
static void copy_over_locked(struct wfs_lane *lane, struct wfs_slot *slot)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_task *task = slot->task;

	while (slot->task && task->writer) {
		wfs_lane_interrupt_locked(task->writer, task);
		pthread_cond_wait(&fetch->landed, &fetch->lock);
	}
	if (!slot->task)
		return; /* done, or given up */
	task->writer = lane;
	task->copying = true;
	pthread_mutex_unlock(&fetch->lock);
	memcpy(task->to, lane->bounce, slot->len);
	pthread_mutex_lock(&fetch->lock);
	task->copying = false;
	task->writer = NULL;
	pthread_cond_broadcast(&fetch->landed);
	if (!slot->task)
		return;
	lane->peer->won += slot->hedge;
	wfs_task_done_locked(task);
}

static void land_right_locked(struct wfs_lane *lane)
{
	struct wfs_slot *slot = &lane->slots[0];
	struct wfs_task *task = slot->task;

	wfs_peer_delivered_locked(lane->peer, slot, wfs_now_ns());
	if (!task)
		return;
	if (task->writer != lane) {
		copy_over_locked(lane, slot);
		return;
	}
	task->writer = NULL;
	pthread_cond_broadcast(&lane->peer->fetch->landed);
	wfs_task_done_locked(task);
}

static int land(struct wfs_lane *lane, bool right)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_slot *slot = &lane->slots[0];
	bool doubted = lane->peer->ops->doubted;
	char *text wfs_autofree = NULL;
	uint64_t group = 0;

	pthread_mutex_lock(&fetch->lock);
	if (right) {
		land_right_locked(lane);
	} else {
		if (doubted)
			group = wfs_peer_differs_locked(lane->peer, slot,
							&text);
		else
			wfs_peer_lied_locked(lane->peer, slot, &text);
		wfs_task_return_locked(lane, slot, true);
	}
	pop_locked(lane);
	lane->idle_at = wfs_now_ns();
	pthread_mutex_unlock(&fetch->lock);
	if (text && doubted)
		fetch->config.differs(fetch->config.ctx, lane->peer, group,
				      text);
	else if (text)
		wfs_error("%s", text);
	return 0;
}

/* A peer has it and cannot read it: what to log, once for a file, or NULL. */
static char *note_unreadable_locked(struct wfs_peer *peer,
				    const struct wfs_task *task,
				    const char *why)
{
	struct wfs_far *far = task ? task->batch->far : NULL;

	peer->errors++;
	if (!far || far->unreadable)
		return NULL;
	far->unreadable = true;
	return wfs_asprintf("'%s' cannot give file '%s' of model '%s': %s",
			    peer->label, far->path, far->model, why);
}

/* The peer says why not.  Whether the connection can go on. */
static int refused(struct wfs_lane *lane, const struct wfs_wire_answer *answer)
{
	struct wfs_peer *peer = lane->peer;
	struct wfs_fetch *fetch = peer->fetch;
	struct wfs_slot *slot = &lane->slots[0];
	char text[WFS_WIRE_TEXT_MAX + 1], *said wfs_autofree = NULL;
	bool lost = answer->status == WFS_WIRE_UNKNOWN ||
		    answer->status == WFS_WIRE_STALE;
	struct wfs_holder *holder;
	int rc = 0;

	if (answer->len)
		rc = peer->ops->body(lane->conn, text, answer->len);
	if (rc)
		return rc;
	text[answer->len] = '\0';
	pthread_mutex_lock(&fetch->lock);
	lane->rested = false;
	holder = slot->task ?
			 wfs_far_holder_locked(slot->task->batch->far, peer) :
			 NULL;
	if (holder && lost)
		holder->state = answer->status == WFS_WIRE_STALE ?
					WFS_HOLDER_STALE :
					WFS_HOLDER_LOST;
	if (answer->status == WFS_WIRE_IO)
		said = note_unreadable_locked(peer, slot->task, text);
	wfs_task_return_locked(lane, slot, true);
	pop_locked(lane);
	pthread_mutex_unlock(&fetch->lock);
	if (said)
		wfs_warn("%s", said);
	wfs_debug("seed '%s' refused a chunk: %s: %s", peer->label,
		  wfs_wire_status_text(answer->status), text);
	if (lost && fetch->config.lost)
		fetch->config.lost(fetch->config.ctx, peer);
	return answer->status == WFS_WIRE_MALFORMED ? -EPROTO : 0;
}

/* Takes the oldest answer. */
static int receive(struct wfs_lane *lane)
{
	const struct wfs_lane_ops *ops = lane->peer->ops;
	struct wfs_wire_answer answer;
	struct landing landing;
	int rc = ops->head(lane->conn, &answer);

	if (rc)
		return rc;
	if (answer.tag != lane->slots[0].tag)
		return -EPROTO;
	if (answer.status != WFS_WIRE_OK)
		return answer.len <= WFS_WIRE_TEXT_MAX ?
			       refused(lane, &answer) :
			       -EPROTO;
	if (answer.len != lane->slots[0].len)
		return -EPROTO;
	landing = prepare(lane, &answer);
	rc = ops->body(lane->conn, landing.to, answer.len);
	return rc ? rc : land(lane, is_right(&landing, answer.len));
}

void *wfs_lane_thread(void *arg)
{
	struct wfs_lane *lane = arg;
	struct wfs_fetch *fetch = lane->peer->fetch;
	int rc = 0;

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
			rc = receive(lane);
		if (rc || next == NEXT_CLOSE)
			drop(lane, rc);
		rc = 0;
	}
	drop(lane, 0);
	return NULL;
}
