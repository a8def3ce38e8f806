/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers: who is well, and what they delivered.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/fetch/inner.h"

#define NS_PER_S 1000000000ull
#define RATE_NS	 (NS_PER_S / 2)

static void set_default(uint64_t *value, uint64_t otherwise)
{
	if (!*value)
		*value = otherwise;
}

/* It is held for so short a time that to sleep for it takes longer. */
static void init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

void wfs_fetch_new(const struct wfs_fetch_config *config,
		   struct wfs_fetch **ret_fetch)
{
	struct wfs_fetch *fetch = wfs_calloc(1, sizeof(*fetch));
	struct wfs_fetch_config *c = &fetch->config;

	*c = *config;
	set_default(&c->deadline_ns, 60 * NS_PER_S);
	set_default(&c->late_ns, NS_PER_S / 4);
	set_default(&c->quarantine_ns, 5 * NS_PER_S);
	set_default(&c->quarantine_max_ns, 600 * NS_PER_S);
	set_default(&c->retry_ns, NS_PER_S / 10);
	set_default(&c->retry_max_ns, 5 * NS_PER_S);
	init_lock(&fetch->lock);
	wfs_cond_init(&fetch->landed);
	atomic_init(&fetch->closing, false);
	fetch->watch.look = wfs_rings_look;
	fetch->watch.ctx = fetch;
	wfs_landing_watch(&fetch->watch);
	*ret_fetch = fetch;
}

void wfs_fetch_stop(struct wfs_fetch *fetch)
{
	pthread_mutex_lock(&fetch->lock);
	atomic_store(&fetch->closing, true);
	for (unsigned i = 0; i < fetch->peer_count; i++) {
		struct wfs_peer *peer = fetch->peers[i];

		for (unsigned k = 0; k < peer->lane_count; k++)
			if (peer->lanes[k].conn)
				peer->ops->stop(peer->lanes[k].conn);
		wfs_peer_call_all_locked(peer);
	}
	wfs_fetch_wake_readers_locked(fetch, NULL);
	pthread_mutex_unlock(&fetch->lock);
}

void wfs_fetch_free(struct wfs_fetch *fetch)
{
	if (!fetch)
		return;
	wfs_fetch_stop(fetch);
	wfs_landing_unwatch(&fetch->watch);
	/* Until the last one ended they call each other's. */
	for (unsigned i = 0; i < fetch->peer_count; i++) {
		struct wfs_peer *peer = fetch->peers[i];

		for (unsigned k = 0; k < peer->lane_count; k++)
			pthread_join(peer->lanes[k].thread, NULL);
	}
	for (unsigned i = 0; i < fetch->peer_count; i++) {
		struct wfs_peer *peer = fetch->peers[i];

		for (unsigned k = 0; k < peer->lane_count; k++)
			sem_destroy(&peer->lanes[k].called);
		free(peer->label);
		free(peer);
	}
	free(fetch->peers);
	pthread_cond_destroy(&fetch->landed);
	pthread_mutex_destroy(&fetch->lock);
	free(fetch);
}

/* Signals are for the threads of the caller. */
static int start_lanes(struct wfs_peer *peer, unsigned lanes)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < lanes && !rc; i++) {
		peer->lanes[i].peer = peer;
		sem_init(&peer->lanes[i].called, 0, 0);
		rc = pthread_create(&peer->lanes[i].thread, NULL,
				    wfs_lane_thread, &peer->lanes[i]);
		peer->lane_count += !rc;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* Fewer are slower only. */
	return peer->lane_count ? 0 : -rc;
}

int wfs_peer_add(struct wfs_fetch *fetch, const char *label,
		 const struct wfs_lane_ops *ops, void *ctx, unsigned lanes,
		 struct wfs_peer **ret_peer)
{
	struct wfs_peer *peer = wfs_calloc(1, sizeof(*peer));
	int rc = 0;

	peer->fetch = fetch;
	peer->label = wfs_strdup(label);
	peer->ops = ops;
	peer->ctx = ctx;
	peer->look_at = UINT64_MAX;
	if (lanes > WFS_LANES_MAX)
		lanes = WFS_LANES_MAX;
	pthread_mutex_lock(&fetch->lock);
	peer->index = fetch->peer_count;
	if (fetch->lane_count >= WFS_LANES_MANY)
		lanes = 1;
	if (atomic_load(&fetch->closing))
		rc = -ESHUTDOWN;
	else if (peer->index == WFS_PEERS_MAX)
		rc = -E2BIG;
	if (!rc)
		rc = start_lanes(peer, lanes);
	if (!rc) {
		fetch->peers = wfs_realloc(fetch->peers,
					   (fetch->peer_count + 1) *
						   sizeof(struct wfs_peer *));
		fetch->peers[fetch->peer_count++] = peer;
		fetch->lane_count += peer->lane_count;
	}
	pthread_mutex_unlock(&fetch->lock);
	if (rc) {
		free(peer->label);
		free(peer);
		return rc;
	}
	*ret_peer = peer;
	return 0;
}

const char *wfs_peer_refusal(int error)
{
	if (error == -E2BIG)
		return "as many as can be are used already: name fewer "
		       "--seed, or hosts with fewer addresses";
	if (error == -EAGAIN)
		return "no more threads can be started: raise the limit of "
		       "processes (ulimit -u), or name fewer --seed";
	return strerror(-error);
}

void wfs_peer_prefer(struct wfs_peer *faster, struct wfs_peer *peer)
{
	pthread_mutex_lock(&peer->fetch->lock);
	peer->faster = faster;
	pthread_mutex_unlock(&peer->fetch->lock);
}

const char *wfs_peer_label(const struct wfs_peer *peer)
{
	return peer->label;
}

void wfs_peer_is_up(struct wfs_peer *peer)
{
	struct wfs_fetch *fetch = peer->fetch;

	pthread_mutex_lock(&fetch->lock);
	if (peer->retry_at) {
		peer->retry_at = 0;
		peer->hopeful = true;
		wfs_peer_call_locked(peer);
	}
	pthread_mutex_unlock(&fetch->lock);
}

/* `first` doubled as often as it happened before, up to `max`. */
static uint64_t back_off(uint64_t first, unsigned before, uint64_t max)
{
	while (before-- && first < max)
		first *= 2;
	return first < max ? first : max;
}

void wfs_peer_failed_locked(struct wfs_peer *peer, const char *why)
{
	const struct wfs_fetch_config *c = &peer->fetch->config;

	peer->errors++;
	peer->failed_at = wfs_now_ns();
	/* Lanes that fall together are one failure. */
	if (!peer->failures || peer->failed_at >= peer->retry_at) {
		peer->retry_at =
			peer->failed_at +
			back_off(c->retry_ns, peer->failures, c->retry_max_ns);
		peer->failures++;
	}
	peer->hopeful = false;
	snprintf(peer->why, sizeof(peer->why), "%s", why);
	/* Others may take what was its, and its own lanes look again. */
	wfs_fetch_call_locked(peer->fetch);
	wfs_rings_look_locked(peer->fetch);
}

void wfs_peer_lied_locked(struct wfs_peer *peer, const struct wfs_slot *slot,
			  char **ret_text)
{
	const struct wfs_fetch_config *c = &peer->fetch->config;
	uint64_t now = wfs_now_ns();
	const struct wfs_task *task = slot->task;

	peer->wrong++;
	peer->lied = true;
	if (peer->quarantine_until > now)
		return; /* it was said already */
	peer->quarantine_ns =
		peer->quarantine_ns ?
			back_off(peer->quarantine_ns, 1, c->quarantine_max_ns) :
			c->quarantine_ns;
	peer->quarantine_until = now + peer->quarantine_ns;
	for (unsigned i = 0; i < peer->lane_count; i++) {
		struct wfs_lane *lane = &peer->lanes[i];

		if (!lane->conn)
			continue;
		lane->stopped = true;
		peer->ops->stop(lane->conn);
	}
	*ret_text = wfs_asprintf(
		"seed '%s' sent wrong bytes: model '%s', file '%s', offset "
		"%" PRIu64 "; it is not asked for %.0f s",
		peer->label, task ? task->batch->far->model : "?",
		task ? task->batch->far->path : "?",
		task ? task->index * WFS_CHUNK : 0,
		(double)peer->quarantine_ns / (double)NS_PER_S);
	wfs_peer_call_all_locked(peer);
	wfs_fetch_call_locked(peer->fetch);
	wfs_rings_look_locked(peer->fetch);
}

uint64_t wfs_peer_differs_locked(struct wfs_peer *peer,
				 const struct wfs_slot *slot, char **ret_text)
{
	struct wfs_far *far = slot->task ? slot->task->batch->far : NULL;
	struct wfs_holder *holder = far ? wfs_far_holder_locked(far, peer) :
					  NULL;

	peer->wrong++;
	if (!holder || holder->state == WFS_HOLDER_WRONG)
		return 0;
	holder->state = WFS_HOLDER_WRONG;
	*ret_text = wfs_asprintf("model '%s', file '%s', offset %" PRIu64,
				 far->model, far->path,
				 slot->task->index * WFS_CHUNK);
	return far->group ? far->group->id : 0;
}

static void measure(struct wfs_peer *peer, uint32_t len, uint64_t now)
{
	uint64_t age = now - peer->rate_since;

	peer->rate_bytes += len;
	if (age < RATE_NS)
		return;
	peer->rate = (uint64_t)((double)peer->rate_bytes * 1e9 / (double)age);
	peer->rate_bytes = 0;
	peer->rate_since = now;
}

void wfs_peer_delivered_locked(struct wfs_peer *peer,
			       const struct wfs_slot *slot, uint64_t now)
{
	uint64_t took = now - slot->asked_at;

	peer->lied = false;
	peer->chunks++;
	peer->bytes += slot->len;
	peer->delivered_at = now;
	if (slot->task && slot->task->batch->far->group)
		atomic_fetch_add(
			&slot->task->batch->far->group->bytes[peer->rank],
			slot->len);
	peer->usual_ns = peer->usual_ns ? (7 * peer->usual_ns + took) / 8 :
					  took;
	if (peer->failures) {
		peer->failures = 0;
		peer->why[0] = '\0';
		peer->retry_at = 0;
		wfs_peer_call_locked(peer);
	}
	measure(peer, slot->len, now);
}

bool wfs_peer_is_usable_locked(const struct wfs_peer *peer, uint64_t now)
{
	return !peer->failures && peer->quarantine_until <= now;
}

void wfs_peer_stats(struct wfs_peer *peer, struct wfs_peer_stats *ret)
{
	struct wfs_fetch *fetch = peer->fetch;
	uint64_t now;

	pthread_mutex_lock(&fetch->lock);
	now = wfs_now_ns();
	*ret = (struct wfs_peer_stats){
		.bytes = peer->bytes,
		.chunks = peer->chunks,
		.errors = peer->errors,
		.wrong = peer->wrong,
		.hedges = peer->hedges,
		.won = peer->won,
		.rate = now - peer->rate_since < 2 * RATE_NS ? peer->rate : 0,
		.down = peer->failures > 0,
	};
	if (peer->quarantine_until > now)
		ret->quarantine_s = (double)(peer->quarantine_until - now) /
				    (double)NS_PER_S;
	for (unsigned i = 0; i < peer->lane_count; i++) {
		ret->lanes += peer->lanes[i].conn != NULL;
		ret->busy += peer->lanes[i].used;
	}
	memcpy(ret->why, peer->why, sizeof(ret->why));
	pthread_mutex_unlock(&fetch->lock);
}
