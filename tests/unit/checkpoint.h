/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints in scratch directories, opened as file sources.  Everything
 * fails the test that calls it.
 */
#ifndef WFS_TESTS_UNIT_CHECKPOINT_H
#define WFS_TESTS_UNIT_CHECKPOINT_H

#include "tests/unit/scratch.h"
#include "transport/file/file_source.h"

/* Opens the directory `dir` of the scratch directory ("" is itself). */
struct wfs_source *checkpoint_open(const struct scratch *s, const char *dir);

/* Opening it, and looking at it, must fail with that code and a text that
   holds `text`. */
void checkpoint_refused(const struct scratch *s, const char *dir, int code,
			const char *text);

/* The listing is `paths`: each with a "/" if a directory, and a space. */
void checkpoint_lists(struct wfs_source *src, const char *paths);

const struct wfs_source_entry *checkpoint_entry(struct wfs_source *src,
						const char *path);
struct wfs_region *checkpoint_region(struct wfs_source *src, const char *path);

/* The file `path` must read as `text`. */
void checkpoint_reads(struct wfs_source *src, const char *path,
		      const char *text);

#endif
