/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an event, `level message key=value …`.
 *
 * To stderr in front, to syslog behind.  The message is printf-style; bytes
 * that are not printable (a hostile tensor name may hold a newline) are
 * escaped as `\xNN`, so one call is always one line.  Thread-safe.
 */
#ifndef WFS_CORE_BASE_LOG_H
#define WFS_CORE_BASE_LOG_H

enum wfs_log_level {
	WFS_LOG_ERROR,
	WFS_LOG_WARN,
	WFS_LOG_INFO,
	WFS_LOG_DEBUG,
};

enum wfs_log_sink {
	WFS_LOG_STDERR,
	WFS_LOG_SYSLOG,
};

/* Where lines go and the least important level that is written. */
void wfs_log_setup(enum wfs_log_sink sink, enum wfs_log_level level);

/* "error", "warn", "info", "debug" -> level; -EINVAL for anything else. */
int wfs_log_level_parse(const char *text, enum wfs_log_level *ret_level);

void wfs_log(enum wfs_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define wfs_error(...) wfs_log(WFS_LOG_ERROR, __VA_ARGS__)
#define wfs_warn(...)  wfs_log(WFS_LOG_WARN, __VA_ARGS__)
#define wfs_info(...)  wfs_log(WFS_LOG_INFO, __VA_ARGS__)
#define wfs_debug(...) wfs_log(WFS_LOG_DEBUG, __VA_ARGS__)

#endif
