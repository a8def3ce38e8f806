/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lanes are woken, and when.
 *
 * A wake-up is two system calls and more where the woken one finds the lock
 * taken, so none is woken that has nothing to do.  For something new one lane
 * that sleeps is called, of each peer that may be asked for it now; once it is
 * awake and busy it calls the next, as long as there is more.  The last one to
 * fall asleep is the first to be called, so that the connections of the others
 * stay idle, and are closed.
 *
 * What a peer may be asked for later (it is left to a better one, it may become
 * late elsewhere) is seen by the peer's lookout: the one of its sleeping lanes
 * that wakes by itself, at the earliest time that any of them found.  It is not
 * woken for what it would see in time.
 */
#include "core/base/mem.h"
#include "transport/fetch/inner.h"

static void remove_locked(struct wfs_lane *lane)
{
	struct wfs_lane **at = &lane->peer->asleep;

	while (*at != lane)
		at = &(*at)->below;
	*at = lane->below;
	lane->asleep = false;
}

static bool call_one_locked(struct wfs_peer *peer)
{
	struct wfs_lane *lane = peer->asleep;

	if (!lane)
		return false;
	remove_locked(lane);
	peer->rising++;
	sem_post(&lane->called);
	return true;
}

void wfs_peer_call_all_locked(struct wfs_peer *peer)
{
	while (call_one_locked(peer))
		;
}

void wfs_peer_call_locked(struct wfs_peer *peer)
{
	const struct wfs_fetch *fetch = peer->fetch;

	/* What one cannot bring to a ring, another of its lanes may. */
	if (fetch->landings)
		wfs_peer_call_all_locked(peer);
	/* One that rises anyway will see it, and call others. */
	else if (!peer->rising &&
		 fetch->wanted.n + fetch->ahead.n + fetch->asked.n)
		call_one_locked(peer);
}

void wfs_fetch_call_locked(struct wfs_fetch *fetch)
{
	for (unsigned i = 0; i < fetch->peer_count; i++)
		wfs_peer_call_locked(fetch->peers[i]);
}

void wfs_task_offer_locked(const struct wfs_task *task)
{
	const struct wfs_far *far = task->batch->far;
	uint64_t now = task->queued_at;

	for (unsigned i = 0; i < far->holder_count; i++) {
		struct wfs_peer *peer = far->holders[i].peer;
		uint64_t until = UINT64_MAX;

		if (!task->to)
			wfs_peer_call_all_locked(peer);
		if (!peer->asleep || peer->rising)
			continue;
		if (wfs_peer_may_take_locked(peer, task, now, &until) ||
		    until < peer->look_at)
			call_one_locked(peer);
	}
}

void wfs_lane_sleep_locked(struct wfs_lane *lane, uint64_t until, uint64_t own)
{
	struct wfs_peer *peer = lane->peer;
	struct wfs_fetch *fetch = peer->fetch;
	struct wfs_lane **at = &peer->asleep;
	bool open = lane->conn, called;

	/* Those that have to connect, and may not be able to, are called last. */
	while (!open && *at && (*at)->conn)
		at = &(*at)->below;
	lane->below = *at;
	*at = lane;
	lane->asleep = true;
	if (peer->lookout == lane)
		peer->lookout = NULL;
	if (until < peer->look_at) {
		peer->lookout = lane;
		peer->look_at = until;
		own = until < own ? until : own;
	}
	peer->idle += open;
	fetch->idle += open;
	pthread_mutex_unlock(&fetch->lock);
	called = wfs_sem_wait_until(&lane->called, own);
	pthread_mutex_lock(&fetch->lock);
	peer->idle -= open;
	fetch->idle -= open;
	if (peer->lookout == lane)
		peer->look_at = UINT64_MAX;
	if (lane->asleep) { /* it woke by itself */
		remove_locked(lane);
		return;
	}
	peer->rising--;
	if (!called) /* too late to be told, but it was */
		wfs_sem_wait_until(&lane->called, UINT64_MAX);
}

void wfs_lane_relieve_locked(struct wfs_lane *lane, uint64_t until, bool late)
{
	struct wfs_peer *peer = lane->peer;
	struct wfs_fetch *fetch = peer->fetch;

	late |= peer->lookout == lane;
	if (peer->lookout == lane)
		peer->lookout = NULL;
	if (fetch->wanted.n + fetch->ahead.n || until < peer->look_at ||
	    (late && fetch->asked.n))
		wfs_peer_call_locked(peer);
}
