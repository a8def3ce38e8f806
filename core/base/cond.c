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

static struct timespec time_of(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S),
	};
}

bool wfs_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock,
			 uint64_t until)
{
	struct timespec ts = time_of(until);

	if (until == UINT64_MAX) {
		pthread_cond_wait(cond, lock);
		return true;
	}
	return pthread_cond_timedwait(cond, lock, &ts) != ETIMEDOUT;
}

bool wfs_sem_wait_until(sem_t *sem, uint64_t until)
{
	struct timespec ts = time_of(until);
	int rc;

	do
		rc = until == UINT64_MAX ?
			     sem_wait(sem) :
			     sem_clockwait(sem, CLOCK_MONOTONIC, &ts);
	while (rc && errno == EINTR);
	return !rc;
}
