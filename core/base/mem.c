/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers of text.h that are not about text: memory that is there or
 * ends the process, small files, sizes, hashes, time.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/base/text.h"

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

/* The power of two that a unit letter stands for, or -1. */
static int unit_shift(char c)
{
	switch (toupper((unsigned char)c)) {
	case 'K':
		return 10;
	case 'M':
		return 20;
	case 'G':
		return 30;
	case 'T':
		return 40;
	default:
		return -1;
	}
}

int wfs_size_parse(const char *text, uint64_t *ret_bytes)
{
	uint64_t n = 0;
	bool overflow = false;
	int shift;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++) {
		overflow |= __builtin_mul_overflow(n, 10, &n);
		overflow |= __builtin_add_overflow(n, *text - '0', &n);
	}
	shift = unit_shift(*text);
	if (shift > 0) {
		text++;
		overflow |= n > UINT64_MAX >> shift;
		n <<= shift;
	}
	if (*text && strcasecmp(text, "B") != 0 &&
	    (shift < 0 || strcasecmp(text, "iB") != 0))
		return -EINVAL;
	if (overflow)
		return -ERANGE;
	*ret_bytes = n;
	return 0;
}

char *wfs_size_format(uint64_t bytes, char *buf, size_t size)
{
	static const char *const units[] = { "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double n = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buf, size, "%" PRIu64 " B", bytes);
		return buf;
	}
	/* 1023.95 and more would be shown as 1024.0 of the smaller unit. */
	while (n >= 1023.95 && unit < 5) {
		n /= 1024;
		unit++;
	}
	snprintf(buf, size, "%.1f %s", n, units[unit]);
	return buf;
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

uint64_t wfs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
