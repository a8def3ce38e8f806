/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source over a directory on this node.
 *
 * Lists the tree and keeps one read-only descriptor for every file from then
 * on, so that a checkpoint that is replaced by rename is served whole, the
 * old one, as long as anybody reads it.
 *
 * The daemon is root and the directory may be anybody's, so a link is followed
 * only where it stays inside the directory (openat2's RESOLVE_BENEATH: kernel
 * 5.6), with one exception: in a hub cache (`models--ORG--NAME/snapshots/
 * <revision>/…`) links to files in the `blobs` beside it are, too.  Any other
 * link with the name of weights (*.safetensors, *.safetensors.index.json) is
 * an error, and of anything else is left out with a log line; so are devices,
 * sockets and FIFOs.
 *
 * Check: a file whose size or mtime changed was rewritten in place.  A change
 * of ctime alone is harmless when the file was linked, unlinked or replaced
 * by rename, since its bytes are as they were; otherwise its times were set
 * back or its permissions changed, and it is stale as well.
 */
#ifndef WFS_TRANSPORT_FILE_FILE_SOURCE_H
#define WFS_TRANSPORT_FILE_FILE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/source.h"

struct wfs_file_source_config {
	bool follow_links; /* asked for: also links that leave the directory */
	/*
	 * NULL, or the directory that the operator named when `path` was found
	 * in it (by wfs_catalog_scan): a prefix of `path`, after which no
	 * component may be a link, unless follow_links.  Without it all of
	 * `path` is the operator's word and its links are followed.
	 */
	const char *beneath;
};

/*
 * Opens the directory `path` and lists it.  -EMFILE, -ENOENT, -ENOTDIR,
 * -EACCES, -ELOOP (a link that may not be followed) … with a sentence.
 */
int wfs_file_source_open(const char *path,
			 const struct wfs_file_source_config *config,
			 struct wfs_source **ret_source, struct wfs_err *err);

struct wfs_file_listing {
	struct wfs_source_entry *entries; /* all with region NULL */
	size_t count;
	void *own;
};

/*
 * The listing that wfs_file_source_open would give now, with the regions
 * missing (st.st_mode tells files from directories): opens no file and logs
 * nothing, so it can be asked every few seconds whether a checkpoint changed
 * (wfs_model_fingerprint).  Errors as wfs_file_source_open, as far as they
 * show without opening.
 */
int wfs_file_source_peek(const char *path,
			 const struct wfs_file_source_config *config,
			 struct wfs_file_listing *ret_listing,
			 struct wfs_err *err);
void wfs_file_listing_clear(struct wfs_file_listing *listing);

#endif
