/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command lines of a mount: ours, and the one that mount(8) calls its
 * helpers with.
 */
#ifndef WFS_TOOLS_MOUNT_ARGS_H
#define WFS_TOOLS_MOUNT_ARGS_H

#include <stdbool.h>

#include "tools/options.h"

struct wfs_mount_args {
	struct wfs_options options;
	char *mountpoint; /* absolute, links resolved */
	bool foreground;
	bool fake; /* mount -f: all but the mount */
	bool verbose;
};

/*
 * `helper`: as mount.weightfs(8).  Later wins: config file, then -o, then
 * long options.  Returns only when all of it is right, see wfs_cmd_parse.
 */
void wfs_mount_args_parse(int argc, char **argv, bool helper,
			  struct wfs_mount_args *args);
void wfs_mount_args_clear(struct wfs_mount_args *args);

#endif
