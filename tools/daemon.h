/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going behind.
 *
 * The parent stays until the child has said how it went: a script that comes
 * after `weightfs mount` may use the mount at once, and a failure is told
 * where somebody sees it.  No thread may have been started before the fork.
 */
#ifndef WFS_TOOLS_DAEMON_H
#define WFS_TOOLS_DAEMON_H

#include <stdbool.h>

struct wfs_daemon {
	int fd; /* where the parent listens, -1 in front */
	bool behind;
};

/*
 * In front (`behind` false) does nothing and returns 0.
 *
 * Otherwise forks.  The child, in a session of its own, in "/" and with
 * umask 022, gets 0.  The parent waits for one of the calls below, or the
 * child's end, and gets 1 with the exit status to end with; a child that
 * failed has left its sentence on our stderr.  -errno when no process can be
 * had.
 */
int wfs_daemon_start(struct wfs_daemon *daemon, bool behind, int *ret_status);

/*
 * All is well: the parent may go.  Standard input, output and error lead to
 * /dev/null from here on.  -EPIPE when the parent was interrupted meanwhile:
 * whoever called it wants no mount any more.  A second call does nothing.
 */
int wfs_daemon_ready(struct wfs_daemon *daemon);

/*
 * `text` (one sentence) is why it failed: goes to the parent's stderr, or in
 * front to our own.  Nothing after `ready`.
 */
void wfs_daemon_fail(struct wfs_daemon *daemon, const char *text);

/*
 * A sentence worth telling although things go on: on stderr while somebody
 * listens, else nowhere (the log has it).
 */
void wfs_daemon_tell(const struct wfs_daemon *daemon, const char *text);

#endif
