/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns: how many threads may be busy with chunks at a time.
 *
 * A seed has a thread for each stream, and within an engine they must not
 * take more processors than they were given.  Who waits for a slow client
 * gives the turn back meanwhile.
 */
#ifndef WFS_TRANSPORT_SEED_TURN_H
#define WFS_TRANSPORT_SEED_TURN_H

#include <pthread.h>

struct wfs_turns {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	unsigned max; /* 0: everybody may */
	unsigned taken;
};

void wfs_turns_init(struct wfs_turns *turns, unsigned max);
void wfs_turns_destroy(struct wfs_turns *turns);

/* Waits for one. */
void wfs_turn_take(struct wfs_turns *turns);
void wfs_turn_give(struct wfs_turns *turns);

#endif
