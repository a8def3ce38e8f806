/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config file of a mount and of a seed: INI, with a section [mount], [seed]
 * or both, whose keys are those of the option table.
 */
#ifndef WFS_TOOLS_CONFIG_H
#define WFS_TOOLS_CONFIG_H

#include "tools/options.h"

/*
 * Sets the options that `path` gives for options->command; without "plans"
 * among them, a directory of that name beside the file is it.  -ENOENT … when
 * it cannot be read, -EINVAL with file and line for what it may not say.
 */
int wfs_config_read(const char *path, struct wfs_options *options,
		    struct wfs_err *err);

#endif
