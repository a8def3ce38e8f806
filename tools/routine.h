/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that is done again and again, on a thread of its own.
 */
#ifndef WFS_TOOLS_ROUTINE_H
#define WFS_TOOLS_ROUTINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct wfs_routine {
	/* One turn; how many ns to sleep before the next. */
	uint64_t (*turn)(void *ctx);
	void *ctx;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the flags */
	pthread_cond_t wake;
	bool started, stop, turned;
};

void wfs_routine_init(struct wfs_routine *routine, uint64_t (*turn)(void *ctx),
		      void *ctx);

/*
 * Starts the thread, in which all signals are blocked, with a turn at once;
 * waits up to `wait_ns` until that is done.  -EAGAIN.
 */
int wfs_routine_start(struct wfs_routine *routine, uint64_t wait_ns);

/* Ends the thread, after the turn it is at.  Fine when none was started. */
void wfs_routine_stop(struct wfs_routine *routine);

/* The thread must have ended. */
void wfs_routine_clear(struct wfs_routine *routine);

#endif
