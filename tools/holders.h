/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a mount, found without touching it.
 */
#ifndef WFS_TOOLS_HOLDERS_H
#define WFS_TOOLS_HOLDERS_H

#include <stddef.h>

#include "core/base/mounts.h"

struct wfs_holder {
	int pid;
	char command[64];
	char *how; /* "3 open files ('/weights/x/0/a', …), its root" */
};

struct wfs_holders {
	struct wfs_holder *rows;
	size_t count;
};

/*
 * Every process that keeps `mount` busy and that we may look into: by open
 * files, mapped files, working or root directory.
 */
void wfs_holders_find(const struct wfs_mount *mount,
		      struct wfs_holders *ret_holders);
void wfs_holders_clear(struct wfs_holders *holders);

#endif
