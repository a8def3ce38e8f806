/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far something long has come: a bar on a terminal, lines elsewhere.
 */
#ifndef WFS_TOOLS_PROGRESS_H
#define WFS_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct wfs_progress {
	FILE *out;
	bool bar;
	uint64_t total, done;  /* bytes */
	uint64_t begun, shown; /* wfs_now_ns */
	const char *what;      /* "reading", "writing": the caller's */
};

/* A bar if `out` is a terminal.  Nothing is shown before the first step. */
void wfs_progress_begin(struct wfs_progress *progress, FILE *out,
			const char *what, uint64_t total);
/* `bytes` more are done; redraws the bar a few times a second. */
void wfs_progress_step(struct wfs_progress *progress, uint64_t bytes);
/* One line, which is left out where there is a bar. */
void wfs_progress_line(struct wfs_progress *progress, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Takes the bar away. */
void wfs_progress_end(struct wfs_progress *progress);

#endif
