/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of events.  Positions only grow; a byte at position p lies at
 * p % WFS_EVENTS_BYTES.  JSON escapes every newline inside a string, so a
 * newline in the ring always ends a line, and dropping up to one drops whole
 * lines.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/events.h"
#include "core/base/text.h"

/* Longest text of one event; longer ones are cut. */
#define EVENT_TEXT 2048

static struct {
	pthread_mutex_t lock;
	pthread_cond_t idle; /* signalled when a watcher's call has ended */
	uint64_t oldest, end;
	void (*watcher)(void *ctx);
	void *watcher_ctx;
	unsigned watcher_calls; /* running now */
	char bytes[WFS_EVENTS_BYTES];
} ring = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.idle = PTHREAD_COND_INITIALIZER,
};

/* Caller holds ring.lock. */
static void drop_oldest_line(void)
{
	while (ring.oldest < ring.end) {
		if (ring.bytes[ring.oldest++ % WFS_EVENTS_BYTES] == '\n')
			return;
	}
}

/* Caller holds ring.lock; len is at most WFS_EVENTS_BYTES. */
static void append(const char *line, size_t len)
{
	size_t at = ring.end % WFS_EVENTS_BYTES;
	size_t first = WFS_EVENTS_BYTES - at;

	while (ring.end - ring.oldest + len > WFS_EVENTS_BYTES)
		drop_oldest_line();
	if (first > len)
		first = len;
	memcpy(ring.bytes + at, line, first);
	memcpy(ring.bytes, line + first, len - first);
	ring.end += len;
}

static void add_time(struct wfs_text *line)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	wfs_text_add(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
		     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		     tm.tm_min, tm.tm_sec, (int)(now.tv_nsec / 1000000));
}

static void add_line(struct wfs_text *line, const char *kind, const char *model,
		     const char *text)
{
	wfs_text_add(line, "{\"time\":\"");
	add_time(line);
	wfs_text_add(line, "\",\"event\":");
	wfs_text_add_json(line, kind);
	if (model) {
		wfs_text_add(line, ",\"model\":");
		wfs_text_add_json(line, model);
	}
	wfs_text_add(line, ",\"text\":");
	wfs_text_add_json(line, text);
	wfs_text_add(line, "}\n");
}

static void publish(const char *line, size_t len)
{
	void (*fn)(void *ctx);
	void *ctx;

	pthread_mutex_lock(&ring.lock);
	if (len <= WFS_EVENTS_BYTES)
		append(line, len);
	fn = ring.watcher;
	ctx = ring.watcher_ctx;
	if (fn)
		ring.watcher_calls++;
	pthread_mutex_unlock(&ring.lock);

	if (!fn)
		return;
	fn(ctx);
	pthread_mutex_lock(&ring.lock);
	if (--ring.watcher_calls == 0)
		pthread_cond_broadcast(&ring.idle);
	pthread_mutex_unlock(&ring.lock);
}

void wfs_event(const char *kind, const char *model, const char *fmt, ...)
{
	struct wfs_text line = { 0 };
	char text[EVENT_TEXT];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	add_line(&line, kind, model, text);
	publish(line.data, line.len);
	free(line.data);
}

void wfs_events_span(uint64_t *ret_oldest, uint64_t *ret_end)
{
	pthread_mutex_lock(&ring.lock);
	*ret_oldest = ring.oldest;
	*ret_end = ring.end;
	pthread_mutex_unlock(&ring.lock);
}

/* Caller holds ring.lock; [pos, pos + len) is in the ring. */
static void copy_out(uint64_t pos, char *buf, size_t len)
{
	size_t at = pos % WFS_EVENTS_BYTES;
	size_t first = WFS_EVENTS_BYTES - at;

	if (first > len)
		first = len;
	memcpy(buf, ring.bytes + at, first);
	memcpy(buf + first, ring.bytes, len - first);
}

ssize_t wfs_events_read(uint64_t pos, void *buf, size_t len)
{
	ssize_t ret;

	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	pthread_mutex_lock(&ring.lock);
	if (pos < ring.oldest) {
		ret = -EPIPE;
	} else if (pos >= ring.end) {
		ret = 0;
	} else {
		if (len > ring.end - pos)
			len = ring.end - pos;
		copy_out(pos, buf, len);
		ret = (ssize_t)len;
	}
	pthread_mutex_unlock(&ring.lock);
	return ret;
}

void wfs_events_watch(void (*fn)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&ring.lock);
	ring.watcher = fn;
	ring.watcher_ctx = ctx;
	while (!fn && ring.watcher_calls)
		pthread_cond_wait(&ring.idle, &ring.lock);
	pthread_mutex_unlock(&ring.lock);
}
