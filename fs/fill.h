/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WEIGHTFS_IOC_FILL: a file's bytes, put where a reader wants them.
 *
 * What is short and in memory is copied at once, by the session's thread; all
 * else by threads of its own.  A call that waits for bytes can be interrupted,
 * and passes its deadline, at any time; while it writes, some milliseconds later.
 * Once a call has returned nothing is written for it any more.
 */
#ifndef WFS_FS_FILL_H
#define WFS_FS_FILL_H

#include "fs/ioctl.h"

/* Replies to `req`, now or later.  The payload's head was checked. */
void wfs_fill(struct wfs_fs *fs, struct fuse_req *req, uint64_t id,
	      const struct weightfs_fill *fill);

#endif
