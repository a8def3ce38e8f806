/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts behind `.weightfs/status.json`, `stats` and `version`.
 */
#ifndef WFS_FS_REPORT_H
#define WFS_FS_REPORT_H

#include "core/base/text.h"

struct wfs_fs;

void wfs_report_status(struct wfs_fs *fs, struct wfs_text *text);
/* Prometheus text exposition format, version 0.0.4. */
void wfs_report_stats(struct wfs_fs *fs, struct wfs_text *text);
void wfs_report_version(struct wfs_text *text);

#endif
