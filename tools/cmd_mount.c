/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs mount`, and the same as a helper of mount(8).
 */
#include <stdio.h>

#include "tools/cmd.h"
#include "tools/mount_args.h"
#include "tools/serve.h"

static int mount_args(int argc, char **argv, enum wfs_args_kind kind,
		      const struct wfs_hooks *hooks)
{
	struct wfs_mount_args args;
	int status = WFS_EXIT_OK;

	wfs_mount_args_parse(argc, argv, kind, &args);
	if (args.verbose)
		printf("weightfs: %s on %s type weightfs\n",
		       args.options.models_dir ? args.options.models_dir :
						 "none",
		       args.mountpoint);
	if (!args.fake)
		status = wfs_serve(&args.options, args.mountpoint,
				   args.foreground, hooks);
	wfs_mount_args_clear(&args);
	return status;
}

int wfs_cmd_mount(int argc, char **argv, const struct wfs_hooks *hooks)
{
	return mount_args(argc, argv, WFS_ARGS_MOUNT, hooks);
}

int wfs_cmd_mount_helper(int argc, char **argv, const struct wfs_hooks *hooks)
{
	return mount_args(argc, argv, WFS_ARGS_HELPER, hooks);
}
