/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that would change something is answered EROFS.
 */
#ifndef WFS_FS_READONLY_H
#define WFS_FS_READONLY_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)

#include <fuse_lowlevel.h>

/* Fills the operations that change something. */
void wfs_readonly_ops(struct fuse_lowlevel_ops *ops);

#endif
