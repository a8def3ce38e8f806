/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metric.h.
 */
#include "core/base/metric.h"

#include <string.h>

void wfs_metric_family(struct wfs_text *text, const char *prefix,
		       const char *name, const char *type, const char *help)
{
	wfs_text_add(text, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name,
		     help, prefix, name, type);
}

/* UTF-8; backslash, quote and newline are escaped. */
void wfs_metric_label(struct wfs_text *text, const char *value)
{
	size_t len = strlen(value);

	while (len > 0) {
		size_t n = wfs_utf8_sequence(value, len);

		if (n == 0)
			wfs_text_add(text, "\xef\xbf\xbd"); /* U+FFFD */
		else if (*value == '\\' || *value == '"')
			wfs_text_add(text, "\\%c", *value);
		else if (*value == '\n')
			wfs_text_add(text, "\\n");
		else
			wfs_text_add_bytes(text, value, n);
		n += n == 0;
		value += n;
		len -= n;
	}
}
