/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See routine.h.
 */
#include "tools/routine.h"

#include <signal.h>

#include "core/base/cond.h"
#include "core/base/mem.h"

void wfs_routine_init(struct wfs_routine *routine, uint64_t (*turn)(void *ctx),
		      void *ctx)
{
	*routine = (struct wfs_routine){ .turn = turn, .ctx = ctx };
	pthread_mutex_init(&routine->lock, NULL);
	wfs_cond_init(&routine->wake);
}

/* Waits up to `ns` for *flag, which it returns. */
static bool wait_for(struct wfs_routine *routine, const bool *flag, uint64_t ns)
{
	uint64_t until = wfs_now_ns() + ns;
	bool set;

	pthread_mutex_lock(&routine->lock);
	while (!*flag &&
	       wfs_cond_wait_until(&routine->wake, &routine->lock, until))
		;
	set = *flag;
	pthread_mutex_unlock(&routine->lock);
	return set;
}

static void raise_flag(struct wfs_routine *routine, bool *flag)
{
	pthread_mutex_lock(&routine->lock);
	*flag = true;
	pthread_cond_broadcast(&routine->wake);
	pthread_mutex_unlock(&routine->lock);
}

static void *run(void *arg)
{
	struct wfs_routine *routine = arg;
	uint64_t pause;

	do {
		pause = routine->turn(routine->ctx);
		raise_flag(routine, &routine->turned);
	} while (!wait_for(routine, &routine->stop, pause));
	return NULL;
}

int wfs_routine_start(struct wfs_routine *routine, uint64_t wait_ns)
{
	sigset_t all, old;
	int rc;

	/* Signals are for the threads of the caller. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&routine->thread, NULL, run, routine);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	routine->started = rc == 0;
	if (!rc && wait_ns)
		wait_for(routine, &routine->turned, wait_ns);
	return -rc;
}

void wfs_routine_stop(struct wfs_routine *routine)
{
	if (!routine->started)
		return;
	raise_flag(routine, &routine->stop);
	pthread_join(routine->thread, NULL);
	routine->started = false;
}

void wfs_routine_clear(struct wfs_routine *routine)
{
	pthread_cond_destroy(&routine->wake);
	pthread_mutex_destroy(&routine->lock);
}
