/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a checkpoint's directory: what is in it, looked at or opened.
 */
#ifndef WFS_TRANSPORT_FILE_TREE_H
#define WFS_TRANSPORT_FILE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "transport/file/file_source.h"

/* Directories inside directories; a hub's deepest checkpoints have three. */
#define WFS_TREE_DEPTH 16
/* Entries in all: a bound, far above any checkpoint. */
#define WFS_TREE_ENTRIES (1024u * 1024)

struct wfs_tree_node {
	char *path; /* relative */
	struct stat st;
	int fd; /* O_RDONLY; -1: a directory, or only looked at */
};

struct wfs_tree {
	int root;		     /* O_PATH */
	struct wfs_tree_node *nodes; /* byte order of the paths */
	size_t count, cap;
};

/*
 * Walks the directory `path`.  `keep`: every file is opened, and what is left
 * out is logged; otherwise files are only looked at and nothing is logged.
 * Errors as wfs_file_source_open.
 */
int wfs_tree_walk(const char *path, const struct wfs_file_source_config *config,
		  bool keep, struct wfs_tree *ret_tree, struct wfs_err *err);

/* Closes and frees all of it. */
void wfs_tree_clear(struct wfs_tree *tree);

#endif
