/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log.  A line goes out in one write, so that lines of several threads
 * never mix; syslog adds time and pid by itself.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/text.h"

/* An error's text with a sentence around it; longer ones are cut. */
#define MESSAGE_BYTES 2048
/* Every byte of it may become `\xNN`. */
#define LINE_BYTES (16 + 4 * MESSAGE_BYTES)

static atomic_int sink = WFS_LOG_STDERR;
static atomic_int threshold = WFS_LOG_INFO;

static const struct {
	const char *word;
	int priority;
} levels[] = {
	[WFS_LOG_ERROR] = { "error", LOG_ERR },
	[WFS_LOG_WARN] = { "warn", LOG_WARNING },
	[WFS_LOG_INFO] = { "info", LOG_INFO },
	[WFS_LOG_DEBUG] = { "debug", LOG_DEBUG },
};

void wfs_log_setup(enum wfs_log_sink new_sink, enum wfs_log_level level)
{
	if (new_sink == WFS_LOG_SYSLOG)
		openlog("weightfs", LOG_PID, LOG_DAEMON);
	atomic_store(&sink, (int)new_sink);
	atomic_store(&threshold, (int)level);
}

int wfs_log_level_parse(const char *text, enum wfs_log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(text, levels[i].word) == 0) {
			*ret_level = (enum wfs_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static void write_line(const char *line, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nowhere is left to say it */
		line += n;
		len -= (size_t)n;
	}
}

void wfs_log(enum wfs_log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char raw[MESSAGE_BYTES];
	char line[LINE_BYTES];
	va_list ap;
	int used;
	size_t len;

	if ((int)level > atomic_load(&threshold))
		return;
	va_start(ap, fmt);
	if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
		raw[0] = '\0';
	va_end(ap);

	used = snprintf(line, sizeof(line), "%s ", levels[level].word);
	wfs_text_escape(raw, line + used, sizeof(line) - (size_t)used - 1);
	if (atomic_load(&sink) == WFS_LOG_SYSLOG) {
		syslog(levels[level].priority, "%s", line);
	} else {
		len = strlen(line);
		line[len++] = '\n';
		write_line(line, len);
	}
	errno = saved_errno;
}
