/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that grows, text that is made safe to show (UTF-8, escapes, JSON
 * strings), sizes.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/base/text.h"

/* Room for `more` bytes and the NUL. */
static void text_reserve(struct wfs_text *t, size_t more)
{
	size_t need, cap;

	if (__builtin_add_overflow(t->len, more, &need) ||
	    __builtin_add_overflow(need, 1, &need))
		abort();
	if (need <= t->cap)
		return;
	cap = t->cap ? t->cap : 64;
	while (cap < need) {
		if (__builtin_mul_overflow(cap, 2, &cap))
			abort();
	}
	t->data = wfs_realloc(t->data, cap);
	t->cap = cap;
}

void wfs_text_add(struct wfs_text *t, const char *fmt, ...)
{
	va_list ap;
	int need;

	va_start(ap, fmt);
	need = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (need < 0)
		return;
	text_reserve(t, (size_t)need);
	va_start(ap, fmt);
	vsnprintf(t->data + t->len, (size_t)need + 1, fmt, ap);
	va_end(ap);
	t->len += (size_t)need;
}

void wfs_text_add_bytes(struct wfs_text *t, const void *bytes, size_t len)
{
	text_reserve(t, len);
	if (len)
		memcpy(t->data + t->len, bytes, len);
	t->len += len;
	t->data[t->len] = '\0';
}

/* The lowest and highest second byte and the length that a first byte asks. */
struct utf8_lead {
	unsigned char first, last; /* range of lead bytes */
	unsigned char low, high;   /* range of the second byte */
	unsigned char len;
};

/* Unicode 15, table 3-7: well-formed UTF-8 byte sequences. */
static const struct utf8_lead utf8_leads[] = {
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
	{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static size_t utf8_multibyte(const unsigned char *s, size_t len)
{
	const struct utf8_lead *lead = NULL;

	for (size_t i = 0; i < sizeof(utf8_leads) / sizeof(*lead); i++) {
		if (s[0] >= utf8_leads[i].first && s[0] <= utf8_leads[i].last)
			lead = &utf8_leads[i];
	}
	if (!lead || len < lead->len || s[1] < lead->low || s[1] > lead->high)
		return 0;
	for (size_t i = 2; i < lead->len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return lead->len;
}

size_t wfs_utf8_sequence(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;

	if (!len)
		return 0;
	return u[0] < 0x80 ? 1 : utf8_multibyte(u, len);
}

/* Length of the sequence at `s` if it may be shown as it is, else 0. */
static size_t printable_sequence(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = wfs_utf8_sequence(s, len);

	if (n == 1 && (u[0] < 0x20 || u[0] == 0x7f))
		return 0;
	/* U+0080 … U+009F are control characters too. */
	if (n == 2 && u[0] == 0xc2 && u[1] < 0xa0)
		return 0;
	return n;
}

void wfs_text_escape(const char *in, char *out, size_t size)
{
	size_t left = strlen(in);
	char hex[5];

	while (left) {
		size_t n = printable_sequence(in, left);
		const char *add = in;
		size_t add_len = n;

		if (!n) {
			snprintf(hex, sizeof(hex), "\\x%02x",
				 (unsigned char)*in);
			add = hex;
			add_len = 4;
			n = 1;
		}
		if (add_len >= size)
			break;
		memcpy(out, add, add_len);
		out += add_len;
		size -= add_len;
		in += n;
		left -= n;
	}
	*out = '\0';
}

void wfs_text_add_json(struct wfs_text *t, const char *s)
{
	size_t left = strlen(s);

	wfs_text_add_bytes(t, "\"", 1);
	while (left) {
		size_t n = wfs_utf8_sequence(s, left);

		if (!n) {
			wfs_text_add_bytes(t, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (*s == '"' || *s == '\\') {
			wfs_text_add(t, "\\%c", *s);
		} else if (n == 1 && ((unsigned char)*s < 0x20 || *s == 0x7f)) {
			wfs_text_add(t, "\\u%04x", (unsigned char)*s);
		} else {
			wfs_text_add_bytes(t, s, n);
		}
		s += n;
		left -= n;
	}
	wfs_text_add_bytes(t, "\"", 1);
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

bool wfs_text_replace(char **at, const char *text)
{
	if (*at && !strcmp(*at, text))
		return false;
	free(*at);
	*at = wfs_strdup(text);
	return true;
}

bool wfs_text_same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool wfs_starts_with(const char *s, const char *start)
{
	return strncmp(s, start, strlen(start)) == 0;
}

bool wfs_ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), end_len = strlen(end);

	return len >= end_len && strcmp(s + len - end_len, end) == 0;
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
