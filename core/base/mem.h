/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory, descriptors and time: what every room uses.
 */
#ifndef WFS_CORE_BASE_MEM_H
#define WFS_CORE_BASE_MEM_H

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
 * Reads a whole small file (at most `limit` bytes, else -EFBIG) into a
 * NUL-terminated buffer that the caller frees.
 */
int wfs_file_slurp(const char *path, size_t limit, char **ret_text,
		   size_t *ret_len);
/* The same from an open descriptor, which stays the caller's. */
int wfs_fd_slurp(int fd, size_t limit, char **ret_text, size_t *ret_len);

/*
 * Reads `len` bytes at `off`: how many, fewer only at the end of the file, or
 * a negative errno.
 */
ssize_t wfs_pread_all(int fd, void *buf, size_t len, uint64_t off);
/* Writes all of them: 0 or a negative errno. */
int wfs_pwrite_all(int fd, const void *buf, size_t len, uint64_t off);

/* malloc/calloc/realloc/strdup that abort when memory is out. */
void *wfs_malloc(size_t size);
void *wfs_calloc(size_t n, size_t size);
void *wfs_realloc(void *p, size_t size);
char *wfs_strdup(const char *s);
char *wfs_strdup_or_null(const char *s); /* NULL of NULL */
char *wfs_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Gives free memory back to the system.  Several threads may ask at once:
 * glibc's own malloc, where a sanitizer's stands in its place, sets itself up
 * at the first call, and not twice at a time.
 */
void wfs_mem_trim(void);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t wfs_now_ns(void);

#endif
