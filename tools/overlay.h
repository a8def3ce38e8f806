/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints that lie on an overlayfs, as in a container's image: the kernel
 * counts the file systems that are stacked, and passthrough to such a file is
 * one more.
 */
#ifndef WFS_TOOLS_OVERLAY_H
#define WFS_TOOLS_OVERLAY_H

#include <stdbool.h>

#include "tools/options.h"

/* Does any that is to be mounted, or may appear, lie on one?  What cannot be
 * asked does not. */
bool wfs_overlay_any(const struct wfs_options *options);

#endif
