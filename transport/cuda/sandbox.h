/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU helper's way from the daemon's rights to its reader's, and less.
 */
#ifndef WFS_TRANSPORT_CUDA_SANDBOX_H
#define WFS_TRANSPORT_CUDA_SANDBOX_H

#include <sys/types.h>

struct wfs_sandbox {
	uid_t uid;
	gid_t gid;
	const char *groups; /* numbers with blanks between, or "" */
	int pidns;	    /* a namespace to enter, or -1 */
	int cgroup;	    /* its cgroup.procs, open for writing, or -1 */
};

/*
 * Makes this process that user's, in that namespace and cgroup: it keeps no
 * capability, gains none by what it executes, and cannot make the calls that a
 * user of a GPU has no need of.  Entering a namespace is forking: the caller
 * goes on in the child, the parent waits for it and ends as it did.  0, or a
 * negative errno, after which the process is to end.
 */
int wfs_sandbox_enter(const struct wfs_sandbox *sandbox);

#endif
