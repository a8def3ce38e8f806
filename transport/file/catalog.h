/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which checkpoints lie in a directory: what `--models DIR` means.
 *
 * Every sub-directory that holds a checkpoint is one (weight files, or a
 * config.json beside them).  A hub cache (`models--ORG--NAME` with
 * `snapshots/` and `refs/`) is recognised: such an entry is named
 * `ORG--NAME` and leads to the snapshot that refs/main names (or, without
 * one, to the only snapshot there is); the other snapshots are
 * `ORG--NAME@<revision>`.  A plain directory of that name wins.  Hidden
 * directories are passed over, and links to directories unless asked for.
 *
 * Between the scan and the opening whoever owns the directory may put a link
 * in a checkpoint's place: open what is found with
 * wfs_file_source_config.beneath set to the scanned directory.
 */
#ifndef WFS_TRANSPORT_FILE_CATALOG_H
#define WFS_TRANSPORT_FILE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct wfs_catalog_entry {
	char *name; /* a model's name, legal as a file name */
	char *path; /* the checkpoint's directory */
};

struct wfs_catalog {
	struct wfs_catalog_entry *entries; /* byte order of the names */
	size_t count;
};

/* -ENOENT, -ENOTDIR, -EACCES, -EMFILE … with a sentence. */
int wfs_catalog_scan(const char *dir, bool follow_links,
		     struct wfs_catalog *ret_catalog, struct wfs_err *err);
void wfs_catalog_clear(struct wfs_catalog *catalog);

#endif
