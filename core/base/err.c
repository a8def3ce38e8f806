/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors with a text.  Everything is formatted beside the error first and
 * escaped on the way in: an argument may be the error's own text, and may
 * hold bytes that a checkpoint chose.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/base/text.h"

int wfs_err_set(struct wfs_err *err, int code, const char *fmt, ...)
{
	char raw[WFS_ERR_TEXT];
	va_list ap;

	assert(code < 0);
	if (!err)
		return code;
	va_start(ap, fmt);
	if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
		raw[0] = '\0';
	va_end(ap);
	err->code = code;
	wfs_text_escape(raw, err->text, sizeof(err->text));
	return code;
}

int wfs_err_prefix(struct wfs_err *err, const char *fmt, ...)
{
	char raw[2 * WFS_ERR_TEXT];
	va_list ap;
	int used;

	if (!err)
		return 0;
	va_start(ap, fmt);
	used = vsnprintf(raw, WFS_ERR_TEXT - 1, fmt, ap);
	va_end(ap);
	if (used < 0)
		used = 0;
	if (used > WFS_ERR_TEXT - 2)
		used = WFS_ERR_TEXT - 2;
	snprintf(raw + used, WFS_ERR_TEXT + 2, ": %s", err->text);
	wfs_text_escape(raw, err->text, sizeof(err->text));
	return err->code;
}
