/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hexadecimal digits, without a locale and without sscanf's leniency.
 */
#include <errno.h>

#include "core/base/hex.h"

char *wfs_hex_format(const void *bytes, size_t len, char *text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = bytes;

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[from[i] >> 4];
		text[2 * i + 1] = digits[from[i] & 15];
	}
	text[2 * len] = '\0';
	return text;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int wfs_hex_parse(const char *text, size_t text_len, void *ret_bytes,
		  size_t len)
{
	uint8_t *to = ret_bytes;

	if (text_len % 2 || text_len / 2 != len)
		return -EINVAL;
	for (size_t i = 0; i < text_len; i++)
		if (digit(text[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(digit(text[2 * i]) * 16 +
				  digit(text[2 * i + 1]));
	return 0;
}
