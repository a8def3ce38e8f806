/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mounted, from /proc/self/mountinfo: the one place that can be asked
 * about a mount without touching it.
 */
#ifndef WFS_CORE_BASE_MOUNTS_H
#define WFS_CORE_BASE_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct wfs_mount {
	unsigned id, parent;
	unsigned major, minor; /* device numbers */
	char *point, *fstype, *source;
};

struct wfs_mounts {
	struct wfs_mount *rows; /* in the order in which they were mounted */
	size_t count;
};

/* Lines that are no mountinfo are passed over. */
void wfs_mounts_parse(const char *text, struct wfs_mounts *ret_mounts);
/* -ENOENT … with a sentence when there is no /proc. */
int wfs_mounts_read(struct wfs_mounts *ret_mounts, struct wfs_err *err);
void wfs_mounts_clear(struct wfs_mounts *mounts);

bool wfs_mount_is_weightfs(const struct wfs_mount *mount);

/* The topmost mount on exactly this path, or NULL. */
const struct wfs_mount *wfs_mounts_at(const struct wfs_mounts *mounts,
				      const char *point);
/* Is this one of ours, and the topmost of its point? */
bool wfs_mounts_shows(const struct wfs_mounts *mounts,
		      const struct wfs_mount *mount);
/* The topmost mount that the absolute path lies in, or NULL. */
const struct wfs_mount *wfs_mounts_of(const struct wfs_mounts *mounts,
				      const char *path);

#endif
