/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a process that serves: goes behind, says when it is ready, ends
 * when it is told to.
 *
 * Signals to end are taken by a thread of their own, blocked everywhere else,
 * so nothing runs in a handler and none comes too late or twice.  Until
 * wfs_life_block they end the program as they always do.
 */
#ifndef WFS_TOOLS_LIFE_H
#define WFS_TOOLS_LIFE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/base/log.h"
#include "tools/daemon.h"

struct wfs_life {
	struct wfs_daemon daemon;
	bool foreground;
	/* Called once, by the thread; `signal` is its name. */
	void (*end)(void *ctx, const char *signal);
	void *ctx;
	pthread_t thread;
	bool started;
	atomic_bool leaving;
	atomic_bool told; /* by a signal to end */
};

/*
 * As wfs_daemon_start, with the log where it belongs: 0 in the process that
 * lives on; 1 in one that has nothing left to do but to end with
 * *ret_status.  What goes wrong was told.
 */
int wfs_life_begin(struct wfs_life *life, bool foreground,
		   enum wfs_log_level level, int *ret_status);

/* For this thread and those that it starts. */
void wfs_life_block(void);

/* Starts the thread that waits for signals.  -EAGAIN. */
int wfs_life_start(struct wfs_life *life,
		   void (*end)(void *ctx, const char *signal), void *ctx,
		   struct wfs_err *err);

/* Ends it.  Fine when none was started. */
void wfs_life_stop(struct wfs_life *life);

/* It failed: says why, in the log and to whoever waits. */
void wfs_life_fail(struct wfs_life *life, const char *text);

#endif
