/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that serves, see life.h.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "tools/cmd.h"
#include "tools/life.h"

#define WAKE_SIGNAL SIGUSR1 /* ends the thread that waits for signals */

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, WAKE_SIGNAL);
}

static void *wait_for_signals(void *arg)
{
	struct wfs_life *life = arg;
	sigset_t set;
	int sig;

	signal_set(&set);
	for (;;) {
		if (sigwait(&set, &sig))
			continue;
		if (sig == WAKE_SIGNAL && atomic_load(&life->leaving))
			return NULL;
		if (sig == WAKE_SIGNAL || atomic_exchange(&life->told, true))
			continue;
		life->end(life->ctx, strsignal(sig));
	}
}

int wfs_life_begin(struct wfs_life *life, bool foreground,
		   enum wfs_log_level level, int *ret_status)
{
	int rc;

	*life = (struct wfs_life){ .foreground = foreground };
	rc = wfs_daemon_start(&life->daemon, !foreground, ret_status);
	if (rc < 0) {
		wfs_complain("cannot start a daemon: %s", strerror(-rc));
		*ret_status = WFS_EXIT_FAILURE;
	}
	if (rc)
		return 1;
	wfs_log_setup(foreground ? WFS_LOG_STDERR : WFS_LOG_SYSLOG, level);
	return 0;
}

void wfs_life_block(void)
{
	sigset_t set;

	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int wfs_life_start(struct wfs_life *life,
		   void (*end)(void *ctx, const char *signal), void *ctx,
		   struct wfs_err *err)
{
	int rc;

	life->end = end;
	life->ctx = ctx;
	rc = pthread_create(&life->thread, NULL, wait_for_signals, life);
	if (rc)
		return wfs_err_set(err, -rc, "cannot start a thread: %s",
				   strerror(rc));
	life->started = true;
	return 0;
}

void wfs_life_stop(struct wfs_life *life)
{
	if (!life->started)
		return;
	atomic_store(&life->leaving, true);
	pthread_kill(life->thread, WAKE_SIGNAL);
	pthread_join(life->thread, NULL);
	life->started = false;
}

void wfs_life_fail(struct wfs_life *life, const char *text)
{
	if (!life->foreground)
		wfs_error("%s", text);
	wfs_daemon_fail(&life->daemon, text);
}
