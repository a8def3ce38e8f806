/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes a call, and the proof that it has: a token that means nothing in
 * another process's hands.
 */
#ifndef WFS_FS_CALLER_H
#define WFS_FS_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/proc.h"

#define WFS_CALLER_KEY	 32
#define WFS_CALLER_TOKEN 32

struct wfs_caller {
	uid_t uid;
	struct wfs_proc proc;
};

/*
 * The process that thread `tid` belongs to.  -EXDEV: it is in a pid namespace
 * that cannot be seen from here (0, as the kernel says then); -ESRCH: it is
 * gone.
 */
int wfs_caller_find(pid_t tid, uid_t uid, struct wfs_caller *ret_caller);

/* 0, or -EIO when there is no HMAC to be had. */
int wfs_caller_token(const uint8_t key[WFS_CALLER_KEY],
		     const struct wfs_caller *caller,
		     uint8_t ret_token[WFS_CALLER_TOKEN]);
bool wfs_caller_shows(const uint8_t key[WFS_CALLER_KEY],
		      const struct wfs_caller *caller,
		      const uint8_t token[WFS_CALLER_TOKEN]);

#endif
