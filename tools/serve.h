/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a mount, from the first look at the checkpoints to the last
 * answer.
 */
#ifndef WFS_TOOLS_SERVE_H
#define WFS_TOOLS_SERVE_H

#include <stdbool.h>

#include "tools/cmd.h"
#include "tools/options.h"

/*
 * Serves the checkpoints that `options` name on `mountpoint` (absolute) until
 * it is unmounted or SIGTERM, SIGINT or SIGHUP comes.  Behind, returns in the
 * parent as soon as the mount answers, or with what the daemon said on
 * stderr.  The exit status.  No thread may have been started.
 */
int wfs_serve(const struct wfs_options *options, const char *mountpoint,
	      bool foreground, const struct wfs_hooks *hooks);

#endif
