/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs status --watch`: the status of mounts, again and again.
 */
#ifndef WFS_TOOLS_STATUS_WATCH_H
#define WFS_TOOLS_STATUS_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/*
 * Looks every `every_ns` at the mounts on these points.  On a terminal all of
 * them are drawn over what was drawn before; else each is printed when anything
 * but its uptime changed.  Ends when one is gone or does not answer, or stdout
 * is not written any more: a negative errno with a sentence.
 */
int wfs_status_watch(const char *const *points, size_t count, uint64_t every_ns,
		     struct wfs_err *err);

#endif
