/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of others, as /proc tells of them.
 */
#ifndef WFS_CORE_BASE_PROC_H
#define WFS_CORE_BASE_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process, never mistaken for a later one of the same number. */
struct wfs_proc {
	pid_t tgid;
	uint64_t started; /* in the kernel's ticks since it booted */
};

static inline bool wfs_proc_same(const struct wfs_proc *a,
				 const struct wfs_proc *b)
{
	return a->tgid == b->tgid && a->started == b->started;
}

/*
 * The process that thread `tid` belongs to.  -ESRCH: it is gone, or 0: not to
 * be seen from here.
 */
int wfs_proc_find(pid_t tid, struct wfs_proc *ret_proc);

/*
 * A descriptor that is readable when the process has ended, closed by the
 * caller; -ESRCH when it has, -EMFILE.
 */
int wfs_proc_open(const struct wfs_proc *proc);

/* A namespace of the process, "pid" …, as a number; 0 when it is gone. */
uint64_t wfs_proc_namespace(pid_t tgid, const char *name);

/*
 * The value of a line of /proc/<tgid>/status, such as "Groups"; the path of
 * its cgroup (version 2).  NULL when there is none; freed by the caller.
 */
char *wfs_proc_status(pid_t tgid, const char *key);
char *wfs_proc_cgroup(pid_t tgid);

/* From now on this thread goes behind all others, to the disk and the CPU. */
void wfs_thread_stand_back(void);

#endif
