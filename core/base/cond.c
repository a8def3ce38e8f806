/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cond.h.
 */
#include "core/base/cond.h"

#include <errno.h>
#include <time.h>

#define NS_PER_S 1000000000ull

void wfs_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

bool wfs_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock,
			 uint64_t until)
{
	struct timespec ts = {
		.tv_sec = (time_t)(until / NS_PER_S),
		.tv_nsec = (long)(until % NS_PER_S),
	};

	if (until == UINT64_MAX) {
		pthread_cond_wait(cond, lock);
		return true;
	}
	return pthread_cond_timedwait(cond, lock, &ts) != ETIMEDOUT;
}
