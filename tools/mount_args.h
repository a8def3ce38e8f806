/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command lines of what serves: of a mount, as mount(8) calls its helpers,
 * and of a seed.
 */
#ifndef WFS_TOOLS_MOUNT_ARGS_H
#define WFS_TOOLS_MOUNT_ARGS_H

#include <stdbool.h>

#include "tools/options.h"

enum wfs_args_kind {
	WFS_ARGS_MOUNT,
	WFS_ARGS_HELPER, /* as mount.weightfs(8) */
	WFS_ARGS_SEED,
};

struct wfs_mount_args {
	struct wfs_options options;
	char *mountpoint; /* absolute, links resolved; NULL for a seed */
	bool foreground;
	bool fake; /* mount -f: all but the mount */
	bool verbose;
};

/*
 * Later wins: config file, then -o, then long options.  Returns only when all
 * of it is right, see wfs_cmd_parse.
 */
void wfs_mount_args_parse(int argc, char **argv, enum wfs_args_kind kind,
			  struct wfs_mount_args *args);
void wfs_mount_args_clear(struct wfs_mount_args *args);

#endif
