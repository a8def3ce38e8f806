/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a file, wherever they are.
 */
#ifndef WFS_FS_READ_H
#define WFS_FS_READ_H

#include "fs/state.h"

/*
 * Up to `len` bytes at `off`, through the store where there is one: as
 * wfs_recipe_read.  Blocks.
 */
ssize_t wfs_read_bytes(struct wfs_fs *fs, const struct wfs_node *node,
		       const struct wfs_recipe *recipe, void *buf, size_t len,
		       uint64_t off);

#endif
