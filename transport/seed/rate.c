/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cap on bytes a second, see rate.h.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "core/base/cond.h"
#include "core/base/mem.h"
#include "transport/seed/rate.h"

#define NS_PER_S 1000000000ull
#define SAVED_NS (NS_PER_S / 10)
/* Pieces a second: a thousand connections wait for their turns 10 s. */
#define TURNS_S	  100
#define PIECE_MIN 4096
#define PIECE_MAX (1u << 20)

struct wfs_rate {
	uint64_t bytes; /* a second; 0: no cap */
	pthread_mutex_t lock;
	pthread_cond_t stopping;
	uint64_t next; /* when the next stretch begins */
	bool stop;
};

struct wfs_rate *wfs_rate_new(uint64_t bytes)
{
	struct wfs_rate *rate = wfs_calloc(1, sizeof(*rate));

	rate->bytes = bytes;
	pthread_mutex_init(&rate->lock, NULL);
	wfs_cond_init(&rate->stopping);
	return rate;
}

void wfs_rate_free(struct wfs_rate *rate)
{
	if (!rate)
		return;
	pthread_cond_destroy(&rate->stopping);
	pthread_mutex_destroy(&rate->lock);
	free(rate);
}

size_t wfs_rate_piece(const struct wfs_rate *rate, size_t len)
{
	uint64_t piece = rate->bytes / TURNS_S;

	if (!rate->bytes)
		return len;
	if (piece < PIECE_MIN)
		piece = PIECE_MIN;
	if (piece > PIECE_MAX)
		piece = PIECE_MAX;
	return len < piece ? len : (size_t)piece;
}

int wfs_rate_take(struct wfs_rate *rate, size_t bytes)
{
	uint64_t now, mine;
	int rc;

	if (!rate->bytes)
		return 0;
	pthread_mutex_lock(&rate->lock);
	now = wfs_now_ns();
	if (rate->next + SAVED_NS < now)
		rate->next = now - SAVED_NS;
	rate->next += (uint64_t)((double)bytes * (double)NS_PER_S /
				 (double)rate->bytes);
	mine = rate->next;
	while (!rate->stop && mine > now &&
	       wfs_cond_wait_until(&rate->stopping, &rate->lock, mine))
		;
	rc = rate->stop ? -ECANCELED : 0;
	pthread_mutex_unlock(&rate->lock);
	return rc;
}

void wfs_rate_stop(struct wfs_rate *rate)
{
	pthread_mutex_lock(&rate->lock);
	rate->stop = true;
	pthread_cond_broadcast(&rate->stopping);
	pthread_mutex_unlock(&rate->lock);
}
