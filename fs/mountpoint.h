/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place to mount on: checked before, tuned after.
 */
#ifndef WFS_FS_MOUNTPOINT_H
#define WFS_FS_MOUNTPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Takes a dead earlier mount away, then sees that `path` is a directory and,
 * unless `nonempty`, an empty one.
 */
int wfs_mountpoint_prepare(const char *path, bool nonempty,
			   struct wfs_err *err);

/*
 * Raises the readahead of the mount's backing device: 128 KiB, the default,
 * starves readers whose reads the daemon answers.  Needs root; failing is
 * harmless and silent.
 */
void wfs_mountpoint_readahead(const char *path, uint32_t kib);

#endif
