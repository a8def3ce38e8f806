/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is there or ends the process, hashes, small files, time.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/mem.h"

static void *must(void *p)
{
	static const char last_words[] = "error out of memory\n";

	if (!p) {
		ssize_t n = write(STDERR_FILENO, last_words,
				  sizeof(last_words) - 1);
		(void)n;
		abort();
	}
	return p;
}

/* Never NULL: a size of 0 asks for one byte. */
void *wfs_malloc(size_t size)
{
	return must(malloc(size ? size : 1));
}

void *wfs_calloc(size_t n, size_t size)
{
	return must(n && size ? calloc(n, size) : calloc(1, 1));
}

void *wfs_realloc(void *p, size_t size)
{
	return must(realloc(p, size ? size : 1));
}

char *wfs_strdup(const char *s)
{
	return must(strdup(s));
}

char *wfs_strdup_or_null(const char *s)
{
	return s ? wfs_strdup(s) : NULL;
}

char *wfs_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return must(n < 0 ? NULL : s);
}

uint64_t wfs_hash(const void *data, size_t len, uint64_t seed)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		seed ^= p[i];
		seed *= 0x100000001b3ull;
	}
	return seed;
}

/* Doubles *p up to `limit` + 1: the byte too much tells that it is. */
static void slurp_grow(char **p, size_t *cap, size_t limit)
{
	*cap = *cap > limit / 2 ? limit + 1 : *cap * 2;
	*p = wfs_realloc(*p, *cap + 1);
}

int wfs_fd_slurp(int fd, size_t limit, char **ret_text, size_t *ret_len)
{
	char *text wfs_autofree = NULL;
	size_t len = 0, cap = limit < 4096 ? limit + 1 : 4096;

	text = wfs_malloc(cap + 1);
	for (;;) {
		ssize_t n = read(fd, text + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > limit)
			return -EFBIG;
		if (len == cap)
			slurp_grow(&text, &cap, limit);
	}
	text[len] = '\0';
	*ret_text = wfs_steal_ptr(&text);
	*ret_len = len;
	return 0;
}

int wfs_file_slurp(const char *path, size_t limit, char **ret_text,
		   size_t *ret_len)
{
	int fd wfs_autoclose = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return wfs_fd_slurp(fd, limit, ret_text, ret_len);
}

ssize_t wfs_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int wfs_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done,
				   (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

void wfs_mem_trim(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	malloc_trim(0);
	pthread_mutex_unlock(&lock);
}

uint64_t wfs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
