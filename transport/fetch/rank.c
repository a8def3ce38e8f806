/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks: whether those of an earlier rank bring a chunk, which is then not
 * for one of a later rank.  A peer that owes something and was not heard of
 * for longer than is usual brings nothing, connected or not.
 */
#include "core/base/text.h"
#include "transport/fetch/inner.h"

#define LATE_TIMES 4 /* its usual time */

void wfs_peer_set_rank(struct wfs_peer *peer, unsigned rank)
{
	pthread_mutex_lock(&peer->fetch->lock);
	peer->rank = rank;
	pthread_mutex_unlock(&peer->fetch->lock);
}

uint64_t wfs_peer_patience_locked(const struct wfs_peer *peer)
{
	uint64_t usual = LATE_TIMES * peer->usual_ns;
	uint64_t least = peer->fetch->config.late_ns;

	return usual > least ? usual : least;
}

void wfs_peer_owes_locked(struct wfs_peer *peer, bool heard, uint64_t now)
{
	unsigned owed = peer->opening;

	for (unsigned i = 0; i < peer->lane_count; i++)
		owed += peer->lanes[i].used;
	if (!owed)
		peer->quiet_since = 0;
	else if (heard || !peer->quiet_since)
		peer->quiet_since = now;
}

/* Is there reason to leave it to this one?  *until: when that may end. */
static bool serves(const struct wfs_peer *peer, uint64_t now, uint64_t *until)
{
	/* One that owes nothing yet is asked now. */
	uint64_t quiet = (peer->quiet_since ? peer->quiet_since : now) +
			 wfs_peer_patience_locked(peer);

	if (peer->quarantine_until > now || (peer->failures && !peer->hopeful))
		return false;
	if (quiet > now && quiet < *until)
		*until = quiet;
	return quiet > now;
}

bool wfs_is_for_better_locked(const struct wfs_task *task,
			      const struct wfs_peer *peer, uint64_t now,
			      uint64_t *until)
{
	const struct wfs_far *far = task->batch->far;

	if (!task->to)
		return false; /* there is hardly one who could */
	for (unsigned i = 0; peer->rank && i < far->holder_count; i++) {
		const struct wfs_holder *holder = &far->holders[i];
		const struct wfs_peer *other = holder->peer;

		if (other->rank >= peer->rank ||
		    !wfs_holder_has_locked(far, holder) ||
		    wfs_bits_has(&task->tried, other->index))
			continue;
		/* Of a chunk that is late those who are late do not count. */
		if ((task->owner && task->owner->peer == other) ||
		    (task->hedge && task->hedge->peer == other))
			continue;
		if (serves(other, now, until))
			return true;
	}
	return false;
}

bool wfs_far_has(struct wfs_far *far, const struct wfs_peer *peer)
{
	const struct wfs_holder *holder;
	bool has;

	pthread_mutex_lock(&far->fetch->lock);
	holder = wfs_far_holder_locked(far, peer);
	has = holder && wfs_holder_has_locked(far, holder);
	pthread_mutex_unlock(&far->fetch->lock);
	return has;
}

bool wfs_holder_has_locked(const struct wfs_far *far,
			   const struct wfs_holder *holder)
{
	/* Without a list nobody can tell whether a doubted one has it. */
	return holder->state == WFS_HOLDER_HAS &&
	       (far->digests || !holder->peer->ops->doubted);
}
