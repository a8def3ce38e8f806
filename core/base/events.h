/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened, as JSON lines in a bounded ring: `.weightfs/events`.
 *
 * Positions are counted in bytes since the ring was made; when it is full the
 * oldest whole lines go.  Thread-safe.  The process has one ring.
 */
#ifndef WFS_CORE_BASE_EVENTS_H
#define WFS_CORE_BASE_EVENTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WFS_EVENTS_BYTES (256 * 1024)

/*
 * Adds {"time":"…","event":kind,"model":model,"text":…}; `model` may be NULL.
 * The text is printf-style.
 */
void wfs_event(const char *kind, const char *model, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The span of positions that can be read: [oldest, end). */
void wfs_events_span(uint64_t *ret_oldest, uint64_t *ret_end);

/*
 * Copies up to `len` bytes from position `pos`: 0 at the end, -EPIPE when
 * that position has been dropped already.
 */
ssize_t wfs_events_read(uint64_t pos, void *buf, size_t len);

/*
 * `fn` is called, with no lock held, after each event; NULL takes it off and
 * returns only when no call runs.
 */
void wfs_events_watch(void (*fn)(void *ctx), void *ctx);

#endif
