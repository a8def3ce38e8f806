/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WEIGHTFS_IOC_INFO: what a file is, and the best way to its bytes.
 */
#ifndef WFS_FS_INFO_H
#define WFS_FS_INFO_H

#include "fs/ioctl.h"

/*
 * Fills what is out of *info, for the thread `pid` of `uid`.  0, or -ENOTTY,
 * -ESTALE, -EXDEV, -ESRCH and info->head.stage.  Never waits.
 */
int wfs_info_fill(struct wfs_fs *fs, uint64_t id, const struct fuse_ctx *caller,
		  struct weightfs_info *info);

#endif
