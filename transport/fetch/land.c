/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes of a lane's requests: where it goes, whether it is right, and
 * whose it then is.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/fetch/inner.h"

/* Where the oldest answer goes, and what its digest must be. */
struct landing {
	uint8_t *to;
	bool in_ring; /* it is there already */
	bool bare;    /* nothing is known of that */
	enum wfs_digest_algorithm algorithm;
	uint8_t want[WFS_DIGEST_MAX];
};

/* The oldest was answered. */
static void pop_locked(struct wfs_lane *lane, uint64_t now)
{
	lane->used--;
	memmove(&lane->slots[0], &lane->slots[1],
		lane->used * sizeof(lane->slots[0]));
	wfs_peer_owes_locked(lane->peer, true, now);
}

bool wfs_lane_claim_locked(struct wfs_lane *lane, const struct wfs_slot *slot)
{
	struct wfs_task *task = slot->task;

	if (slot->hedge || task->writer || task->taken)
		return false;
	task->writer = lane;
	return true;
}

/* Straight to the reader's memory if that is ours to write to. */
static struct landing prepare(struct wfs_lane *lane,
			      const struct wfs_wire_answer *answer)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_slot *slot = &lane->slots[0];
	struct landing landing = { .bare = lane->peer->ops->bare ||
					   answer->bare,
				   .algorithm = WFS_XXH3_128 };
	struct wfs_task *task;

	memcpy(landing.want, answer->digest, sizeof(answer->digest));
	pthread_mutex_lock(&fetch->lock);
	lane->rested = false;
	task = slot->task;
	landing.in_ring = task && !task->to;
	/* For a ring there was none when it was asked for. */
	if (task && task->to && task->batch->far->digests) {
		struct wfs_digests *list = task->batch->far->digests;

		landing.bare = false;
		landing.algorithm = list->algorithm;
		memcpy(landing.want, wfs_digests_at(list, task->index),
		       wfs_digest_size(list->algorithm));
	}
	if (task && (slot->lands || wfs_lane_claim_locked(lane, slot)))
		landing.to = task->to;
	pthread_mutex_unlock(&fetch->lock);
	if (!landing.to && !landing.in_ring) {
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
static struct wfs_batch *copy_over_locked(struct wfs_lane *lane,
					  struct wfs_slot *slot)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_task *task = slot->task;

	while (slot->task && task->writer) {
		wfs_lane_interrupt_locked(task->writer, task);
		pthread_cond_wait(&fetch->landed, &fetch->lock);
	}
	if (!slot->task)
		return NULL; /* done, or given up */
	task->writer = lane;
	task->copying = true;
	pthread_mutex_unlock(&fetch->lock);
	memcpy(task->to, lane->bounce, slot->len);
	pthread_mutex_lock(&fetch->lock);
	task->copying = false;
	task->writer = NULL;
	pthread_cond_broadcast(&fetch->landed);
	if (!slot->task)
		return NULL;
	lane->peer->won += slot->hedge;
	return wfs_task_done_locked(task, wfs_now_ns());
}

/* The batch to be told. */
static struct wfs_batch *land_right_locked(struct wfs_lane *lane, uint64_t now)
{
	struct wfs_slot *slot = &lane->slots[0];
	struct wfs_task *task = slot->task;

	wfs_peer_delivered_locked(lane->peer, slot, now);
	if (!task)
		return NULL;
	if (task->writer != lane)
		return copy_over_locked(lane, slot);
	task->writer = NULL;
	pthread_cond_broadcast(&lane->peer->fetch->landed);
	return wfs_task_done_locked(task, now);
}

static int land(struct wfs_lane *lane, bool right)
{
	struct wfs_fetch *fetch = lane->peer->fetch;
	struct wfs_slot *slot = &lane->slots[0];
	bool doubted = lane->peer->ops->doubted;
	char *text wfs_autofree = NULL;
	struct wfs_batch *whole = NULL;
	uint64_t group = 0, now;

	pthread_mutex_lock(&fetch->lock);
	now = wfs_now_ns();
	if (right) {
		whole = land_right_locked(lane, now);
	} else {
		if (doubted)
			group = wfs_peer_differs_locked(lane->peer, slot,
							&text);
		else
			wfs_peer_lied_locked(lane->peer, slot, &text);
		if (slot->task)
			slot->task->wrong = true;
		wfs_task_return_locked(lane, slot, true);
	}
	lane->idle_at = now;
	pop_locked(lane, now);
	pthread_mutex_unlock(&fetch->lock);
	wfs_batch_tell(whole);
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

/* What it has no more is not had by the faster way to the same bytes. */
static void lose_locked(struct wfs_far *far, const struct wfs_peer *peer,
			enum wfs_holder_state state)
{
	for (; peer; peer = peer->faster) {
		struct wfs_holder *holder = wfs_far_holder_locked(far, peer);

		if (holder)
			holder->state = state;
	}
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
	bool blame = true;
	int rc = 0;

	if (answer->len)
		rc = peer->ops->body(lane->conn, text, answer->len);
	if (rc)
		return rc;
	text[answer->len] = '\0';
	pthread_mutex_lock(&fetch->lock);
	lane->rested = false;
	if (slot->task && lost)
		lose_locked(slot->task->batch->far, peer,
			    answer->status == WFS_WIRE_STALE ?
				    WFS_HOLDER_STALE :
				    WFS_HOLDER_LOST);
	if (answer->status == WFS_WIRE_IO)
		said = note_unreadable_locked(peer, slot->task, text);
	if (slot->task && !slot->task->to) {
		slot->task->batch->torn |= answer->torn;
		/* Its other lanes may reach what this one does not. */
		blame = wfs_lane_reaches_locked(lane, slot->task);
	}
	wfs_task_return_locked(lane, slot, blame);
	pop_locked(lane, wfs_now_ns());
	pthread_mutex_unlock(&fetch->lock);
	if (said)
		wfs_warn("%s", said);
	wfs_debug("seed '%s' refused a chunk: %s: %s", peer->label,
		  wfs_wire_status_text(answer->status), text);
	if (lost && fetch->config.lost)
		fetch->config.lost(fetch->config.ctx, peer);
	return answer->status == WFS_WIRE_MALFORMED ? -EPROTO : 0;
}

int wfs_lane_receive(struct wfs_lane *lane)
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
	if (landing.in_ring && !(landing.bare && lane->slots[0].lands))
		return -EPROTO;
	rc = ops->body(lane->conn, landing.to, answer.len);
	return rc ? rc : land(lane, is_right(&landing, answer.len));
}
