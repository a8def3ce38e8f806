/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See turn.h.
 */
#include "transport/seed/turn.h"

void wfs_turns_init(struct wfs_turns *turns, unsigned max)
{
	pthread_mutex_init(&turns->lock, NULL);
	pthread_cond_init(&turns->freed, NULL);
	turns->max = max;
	turns->taken = 0;
}

void wfs_turns_destroy(struct wfs_turns *turns)
{
	pthread_cond_destroy(&turns->freed);
	pthread_mutex_destroy(&turns->lock);
}

void wfs_turn_take(struct wfs_turns *turns)
{
	if (!turns->max)
		return;
	pthread_mutex_lock(&turns->lock);
	while (turns->taken == turns->max)
		pthread_cond_wait(&turns->freed, &turns->lock);
	turns->taken++;
	pthread_mutex_unlock(&turns->lock);
}

void wfs_turn_give(struct wfs_turns *turns)
{
	if (!turns->max)
		return;
	pthread_mutex_lock(&turns->lock);
	turns->taken--;
	pthread_cond_signal(&turns->freed);
	pthread_mutex_unlock(&turns->lock);
}
