/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people: columns as wide as their widest cell.
 */
#ifndef WFS_TOOLS_GRID_H
#define WFS_TOOLS_GRID_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct wfs_grid {
	const char *columns; /* one letter each: 'l' or 'r' aligned */
	char **cells;	     /* row after row */
	size_t count;
};

/* Adds a cell; control bytes in it are escaped. */
void wfs_grid_add(struct wfs_grid *grid, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* "1.4 GiB" */
void wfs_grid_add_size(struct wfs_grid *grid, uint64_t bytes);

/* Prints it, every line after `indent`, and frees the cells. */
void wfs_grid_finish(struct wfs_grid *grid, const char *indent, FILE *out);

#endif
