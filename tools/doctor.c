/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of findings, see doctor.h.
 */
#include "tools/doctor.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/mem.h"

void wfs_findings_add(struct wfs_findings *found, const char *name,
		      enum wfs_level level, const char *remedy, const char *fmt,
		      ...)
{
	struct wfs_finding row = {
		.name = name,
		.level = level,
		.remedy = wfs_strdup(remedy ? remedy : ""),
	};
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&row.text, fmt, args) < 0)
		row.text = wfs_strdup("");
	va_end(args);
	found->rows = wfs_realloc(found->rows,
				  (found->count + 1) * sizeof(*found->rows));
	found->rows[found->count++] = row;
}

void wfs_findings_clear(struct wfs_findings *found)
{
	for (size_t i = 0; i < found->count; i++) {
		free(found->rows[i].text);
		free(found->rows[i].remedy);
	}
	free(found->rows);
	*found = (struct wfs_findings){ 0 };
}
