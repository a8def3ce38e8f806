/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which symbolic links of a checkpoint are followed, and safely.
 *
 * Whoever may write to the directory must not get to see, through a daemon
 * that is root, what lies elsewhere.  Every decision is made by the call that
 * opens, never by looking first and opening then.
 */
#ifndef WFS_TRANSPORT_FILE_LINK_H
#define WFS_TRANSPORT_FILE_LINK_H

#include <stdbool.h>

struct wfs_link_rules {
	bool follow_all;
	int root;  /* the checkpoint's directory */
	int blobs; /* the hub cache's blobs that belong to it, or negative */
};

/*
 * The `blobs` directory of the hub cache whose snapshot `root` is (an O_PATH
 * descriptor that the caller closes); -ENOENT when `path` is no such snapshot,
 * or another negative errno.
 */
int wfs_link_hub_blobs(int root, const char *path);

/*
 * Resolves the link `name` in the directory `dir`, which is `path` from the
 * root: an O_PATH descriptor of what it leads to, -EXDEV when it may not be
 * followed, -ENOENT when it leads nowhere, or another negative errno.
 */
int wfs_link_resolve(const struct wfs_link_rules *rules, int dir,
		     const char *name, const char *path);

/*
 * Opens the directory `path` as an O_PATH descriptor.  With `beneath` (a
 * prefix of it) no component after that prefix may be a link: -ELOOP or
 * -ENOTDIR.
 */
int wfs_link_open_root(const char *path, const char *beneath);

#endif
