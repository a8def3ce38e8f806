/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WEIGHTFS_IOC_WARM: a file is to be brought to this node, for readers to come.
 */
#ifndef WFS_FS_WARM_H
#define WFS_FS_WARM_H

#include "fs/state.h"
#include "fs/weightfs_ioctl.h"

/*
 * Starts the hydration of the file `id` if warm->start, and fills the rest of
 * *warm: never waits.  0; -EINVAL for another `start`, -ENOTTY for what is no
 * file of a model, -ESTALE, -ENOSPC when there is no room, -EOPNOTSUPP without
 * an arena.
 */
int wfs_warm(struct wfs_fs *fs, uint64_t id, struct weightfs_warm *warm);

#endif
