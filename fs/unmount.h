/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a mount away, as root or through fusermount3.
 */
#ifndef WFS_FS_UNMOUNT_H
#define WFS_FS_UNMOUNT_H

#include <stdbool.h>

#include "core/base/err.h"

/*
 * Unmounts what is mounted on `path` (a path of mountinfo; never touched
 * itself).  `lazy`: detaches it at once, and it ends when nobody uses it any
 * more.  -EBUSY while somebody does, -EINVAL when nothing is mounted there,
 * -EPERM … with a sentence.
 */
int wfs_unmount(const char *path, bool lazy, struct wfs_err *err);

#endif
