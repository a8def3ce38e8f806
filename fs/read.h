/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers one READ of a file that is open in cached mode.
 */
#ifndef WFS_FS_READ_H
#define WFS_FS_READ_H

#include "fs/state.h"

/* Blocks; `buf` has WFS_READ_MAX bytes.  Replies to `req`. */
void wfs_read_answer(struct wfs_fs *fs, fuse_req_t req, uint64_t id, void *buf,
		     size_t size, off_t off);

#endif
