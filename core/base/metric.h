/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of metrics that Prometheus' text format and OpenMetrics share.
 *
 * They differ in counters: a sample ends in "_total" in both, the name of its
 * family in Prometheus' alone.
 */
#ifndef WFS_CORE_BASE_METRIC_H
#define WFS_CORE_BASE_METRIC_H

#include "core/base/text.h"

enum wfs_metric_form {
	WFS_METRIC_PROMETHEUS,
	WFS_METRIC_OPEN,
};

/* "# HELP" and "# TYPE" of the family `prefix` + `name`; `type` is
 * "counter", "gauge" or "histogram". */
void wfs_metric_family(struct wfs_text *text, const char *prefix,
		       const char *name, const char *type, const char *help);

/* The value of a label without its quotes: invalid UTF-8 becomes U+FFFD. */
void wfs_metric_label(struct wfs_text *text, const char *value);

#endif
