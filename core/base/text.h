/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small text and cleanup helpers that every room uses.
 */
#ifndef WFS_CORE_BASE_TEXT_H
#define WFS_CORE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static inline void wfs_freep(void *p)
{
	free(*(void **)p);
}

static inline void wfs_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* `char *x wfs_autofree = …`: freed when the scope ends. */
#define wfs_autofree __attribute__((cleanup(wfs_freep)))
/* `int fd wfs_autoclose = …`: closed when the scope ends if >= 0. */
#define wfs_autoclose __attribute__((cleanup(wfs_closep)))

/* Takes a descriptor out of an owning variable, which is left at -1. */
static inline int wfs_steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* Takes a pointer out of an owning variable, which is left NULL. */
#define wfs_steal_ptr(pp)                                                      \
	({                                                                     \
		__auto_type stolen_ = *(pp);                                   \
		*(pp) = NULL;                                                  \
		stolen_;                                                       \
	})

/* FNV-1a over `len` bytes, continuing from `seed` (start: WFS_HASH_SEED). */
#define WFS_HASH_SEED 0xcbf29ce484222325ull
uint64_t wfs_hash(const void *data, size_t len, uint64_t seed);

/*
 * Parses a size: digits with an optional K, M, G or T (powers of 1024,
 * upper or lower case, an optional trailing "iB" or "B").  -EINVAL on
 * anything else, -ERANGE on overflow.
 */
int wfs_size_parse(const char *text, uint64_t *ret_bytes);

/* Writes `bytes` for people ("1.4 GiB") into buf; returns buf. */
char *wfs_size_format(uint64_t bytes, char *buf, size_t size);

/*
 * Reads a whole small file (at most `limit` bytes, else -EFBIG) into a
 * NUL-terminated buffer that the caller frees.
 */
int wfs_file_slurp(const char *path, size_t limit, char **ret_text,
		   size_t *ret_len);
/* The same from an open descriptor, which stays the caller's. */
int wfs_fd_slurp(int fd, size_t limit, char **ret_text, size_t *ret_len);

/*
 * Length (1 to 4) of the well-formed UTF-8 sequence that `s` starts with, 0
 * if it starts with none within `len` bytes.  Surrogates, overlong forms and
 * code points above U+10FFFF are not well-formed.
 */
size_t wfs_utf8_sequence(const char *s, size_t len);

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

/* malloc/calloc/realloc/strdup that abort when memory is out. */
void *wfs_malloc(size_t size);
void *wfs_calloc(size_t n, size_t size);
void *wfs_realloc(void *p, size_t size);
char *wfs_strdup(const char *s);
char *wfs_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t wfs_now_ns(void);

#endif
