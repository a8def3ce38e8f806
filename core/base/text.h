/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: sizes, UTF-8, one-line escapes, a text that grows.
 */
#ifndef WFS_CORE_BASE_TEXT_H
#define WFS_CORE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/mem.h"

/*
 * Parses a size: digits with an optional K, M, G or T (powers of 1024,
 * upper or lower case, an optional trailing "iB" or "B").  -EINVAL on
 * anything else, -ERANGE on overflow.
 */
int wfs_size_parse(const char *text, uint64_t *ret_bytes);

/* Writes `bytes` for people ("1.4 GiB") into buf; returns buf. */
char *wfs_size_format(uint64_t bytes, char *buf, size_t size);

/*
 * Length (1 to 4) of the well-formed UTF-8 sequence that `s` starts with, 0
 * if it starts with none within `len` bytes.  Surrogates, overlong forms and
 * code points above U+10FFFF are not well-formed.
 */
size_t wfs_utf8_sequence(const char *s, size_t len);

/*
 * Keeps a copy of `text` in *at (NULL or malloc'd).  False if it is what was
 * kept already: for who says a thing once.
 */
bool wfs_text_replace(char **at, const char *text);

/* Are they equal, where NULL is equal to NULL alone? */
bool wfs_text_same(const char *a, const char *b);

/* Does `s` end in `end`, or begin with `start`, or equal it? */
bool wfs_ends_with(const char *s, const char *end);
bool wfs_starts_with(const char *s, const char *start);

/*
 * Copies `in` to `out` (`size` bytes with the NUL, at least 1) as one line
 * that a terminal shows: control characters and what is not UTF-8 become
 * `\xNN`.  What does not fit is cut, never inside a sequence or an escape.
 */
void wfs_text_escape(const char *in, char *out, size_t size);

/*
 * A growing, NUL-terminated text.  Start with {0}; the caller frees `data`
 * (NULL while nothing was added).  Running out of memory aborts the process:
 * nothing sensible can be said without memory.
 */
struct wfs_text {
	char *data;
	size_t len, cap;
};

void wfs_text_add(struct wfs_text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void wfs_text_add_bytes(struct wfs_text *t, const void *bytes, size_t len);
/* Adds `s` as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void wfs_text_add_json(struct wfs_text *t, const char *s);

#endif
