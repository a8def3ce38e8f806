/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small parsers of header values.  Numbers are read digit by digit, so that
 * no sign, blank or overflow slips through as strtoull() would let them.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "transport/seed/parse.h"

#define NS_PER_S 1000000000ull

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* Digits into *ret_value; false when there are none.  Too large saturates. */
static bool read_number(const char **p, uint64_t *ret_value)
{
	uint64_t value = 0;
	const char *start = *p;

	for (; isdigit((unsigned char)**p); (*p)++) {
		unsigned digit = (unsigned)(**p - '0');

		if (value > (UINT64_MAX - digit) / 10)
			value = UINT64_MAX;
		else
			value = value * 10 + digit;
	}
	*ret_value = value;
	return *p != start;
}

/* The last `n` bytes. */
static int suffix_range(uint64_t n, uint64_t size, struct wfs_range *ret_range)
{
	if (n == 0 || size == 0)
		return -ERANGE;
	ret_range->len = n < size ? n : size;
	ret_range->off = size - ret_range->len;
	return 0;
}

int wfs_range_parse(const char *text, uint64_t size,
		    struct wfs_range *ret_range)
{
	uint64_t first, last = UINT64_MAX;
	bool has_first, has_last;
	const char *p = text;

	if (strncasecmp(p, "bytes", 5) != 0)
		return -ENOENT;
	p = skip_blanks(p + 5);
	if (*p++ != '=')
		return -ENOENT;
	p = skip_blanks(p);
	has_first = read_number(&p, &first);
	if (*p++ != '-')
		return -EINVAL;
	has_last = read_number(&p, &last);
	p = skip_blanks(p);
	if (*p == ',')
		return -E2BIG;
	if (*p || (!has_first && !has_last) ||
	    (has_first && has_last && last < first))
		return -EINVAL;
	if (!has_first)
		return suffix_range(last, size, ret_range);
	if (first >= size)
		return -ERANGE;
	if (!has_last || last >= size)
		last = size - 1;
	*ret_range = (struct wfs_range){ first, last - first + 1 };
	return 0;
}

const char *wfs_bearer_parse(const char *text)
{
	if (strncasecmp(text, "Bearer ", 7) != 0)
		return NULL;
	text = skip_blanks(text + 7);
	return *text ? text : NULL;
}

int wfs_wait_parse(const char *text, uint64_t *ret_ns)
{
	uint64_t seconds, unit = NS_PER_S, ns;
	const char *p = text;

	if (!read_number(&p, &seconds) || seconds > WFS_WAIT_MAX_S)
		return -EINVAL;
	ns = seconds * NS_PER_S;
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++) {
			unit /= 10;
			ns += (uint64_t)(*p - '0') * unit;
		}
	}
	if (*p || ns > WFS_WAIT_MAX_S * NS_PER_S)
		return -EINVAL;
	*ret_ns = ns;
	return 0;
}

int wfs_number_parse(const char *text, unsigned *ret_number)
{
	uint64_t value;

	if (!read_number(&text, &value) || *text || value > INT32_MAX)
		return -EINVAL;
	*ret_number = (unsigned)value;
	return 0;
}

bool wfs_etag_listed(const char *list, const char *tag, bool weak)
{
	size_t len = strlen(tag);
	const char *p = skip_blanks(list);

	if (strcmp(p, "*") == 0)
		return true;
	while (*p) {
		bool is_weak = strncmp(p, "W/", 2) == 0;
		const char *end;

		p += is_weak ? 2 : 0;
		end = *p == '"' ? strchr(p + 1, '"') : NULL;
		if (!end)
			return false;
		if ((!is_weak || weak) && (size_t)(end - p - 1) == len &&
		    memcmp(p + 1, tag, len) == 0)
			return true;
		p = skip_blanks(end + 1);
		if (*p && *p++ != ',')
			return false;
		p = skip_blanks(p);
	}
	return false;
}

bool wfs_word_listed(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (*list) {
		size_t n;

		list = skip_blanks(list);
		n = strcspn(list, ", \t");
		if (n == len && strncasecmp(list, word, n) == 0)
			return true;
		list += strcspn(list, ",");
		list += *list == ',';
	}
	return false;
}
