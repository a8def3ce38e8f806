/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables: cells are kept until all are there, since only then widths are
 * known.  Widths count characters of UTF-8, not bytes.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/grid.h"

#define CELL_BYTES 1024
#define GAP	   "  "

static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void wfs_grid_add(struct wfs_grid *grid, const char *fmt, ...)
{
	char raw[CELL_BYTES], cell[CELL_BYTES];
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(raw, sizeof(raw), fmt, args) < 0)
		raw[0] = '\0';
	va_end(args);
	wfs_text_escape(raw, cell, sizeof(cell));
	grid->cells =
		wfs_realloc(grid->cells, (grid->count + 1) * sizeof(char *));
	grid->cells[grid->count++] = wfs_strdup(cell);
}

void wfs_grid_add_size(struct wfs_grid *grid, uint64_t bytes)
{
	char text[32];

	wfs_grid_add(grid, "%s", wfs_size_format(bytes, text, sizeof(text)));
}

static size_t column_width(const struct wfs_grid *grid, size_t column,
			   size_t columns)
{
	size_t widest = 0;

	for (size_t i = column; i < grid->count; i += columns) {
		if (width(grid->cells[i]) > widest)
			widest = width(grid->cells[i]);
	}
	return widest;
}

void wfs_grid_finish(struct wfs_grid *grid, const char *indent, FILE *out)
{
	size_t columns = strlen(grid->columns);
	size_t *widths wfs_autofree = wfs_calloc(columns + 1, sizeof(*widths));

	assert(columns > 0);
	for (size_t i = 0; i < columns; i++)
		widths[i] = column_width(grid, i, columns);
	for (size_t i = 0; i < grid->count; i++) {
		size_t column = i % columns;
		int pad = (int)(widths[column] - width(grid->cells[i]));
		bool last = column + 1 == columns;
		bool left = grid->columns[column] == 'l';

		fprintf(out, "%s%*s%s%*s%s", column ? GAP : indent,
			left ? 0 : pad, "", grid->cells[i],
			left && !last ? pad : 0, "", last ? "\n" : "");
		free(grid->cells[i]);
	}
	free(grid->cells);
	*grid = (struct wfs_grid){ 0 };
}
