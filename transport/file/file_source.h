/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source over a directory on this node.
 *
 * Lists the tree and keeps one read-only descriptor for every file from then
 * on, so that a checkpoint that is replaced by rename is served whole, the
 * old one, as long as anybody reads it.
 *
 * The daemon is root and the directory may be anybody's, so links are not
 * followed, with one exception: in a hub cache (`models--ORG--NAME/
 * snapshots/<revision>/…`) links into the `blobs` beside it are.  Devices,
 * sockets and FIFOs are left out, with a log line.
 */
#ifndef WFS_TRANSPORT_FILE_FILE_SOURCE_H
#define WFS_TRANSPORT_FILE_FILE_SOURCE_H

#include "core/base/err.h"
#include "core/source.h"

struct wfs_file_source_config {
	bool follow_links; /* asked for: also links that leave the directory */
};

/*
 * Opens the directory `path` and lists it.  -EMFILE, -ENOENT, -ENOTDIR,
 * -EACCES, -ELOOP (a link that may not be followed) … with a sentence.
 */
int wfs_file_source_open(const char *path,
			 const struct wfs_file_source_config *config,
			 struct wfs_source **ret_source, struct wfs_err *err);

#endif
