/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The escaping that names.h describes.  The hash of a long name covers only
 * what was cut off: the beginning is there to be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/names.h"

/* "%~" and 16 hex digits */
#define CUT_MARK 18

bool wfs_name_is_plain(const char *name, size_t len)
{
	if (!len || len > WFS_FILE_NAME_MAX)
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	return !memchr(name, '/', len) && !memchr(name, '%', len) &&
	       !memchr(name, '\0', len);
}

/* The escaped form of one byte into `out`; returns its length, 1 or 3. */
static size_t escape_byte(unsigned char c, bool dots, char out[4])
{
	if (c != '/' && c != '%' && c != '\0' && !dots) {
		out[0] = (char)c;
		return 1;
	}
	snprintf(out, 4, "%%%02X", c);
	return 3;
}

/* A cut before this byte would split a character. */
static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

bool wfs_name_is_path(const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "/");

		if (!len || len > WFS_FILE_NAME_MAX ||
		    (len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		if (!path[len])
			return true;
		path += len + 1;
	}
}

size_t wfs_name_escape(const char *name, size_t len,
		       char out[WFS_FILE_NAME_MAX + 1])
{
	bool dots = (len == 1 && name[0] == '.') ||
		    (len == 2 && name[0] == '.' && name[1] == '.');
	size_t n = 0, cut_out = 0, cut_name = 0;

	if (!len) {
		strcpy(out, "%");
		return 1;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];
		char one[4];
		size_t more = escape_byte(c, dots, one);

		if (n <= WFS_FILE_NAME_MAX - CUT_MARK && !is_continuation(c)) {
			cut_out = n;
			cut_name = i;
		}
		if (n + more > WFS_FILE_NAME_MAX) {
			uint64_t hash = wfs_hash(name + cut_name,
						 len - cut_name, WFS_HASH_SEED);

			snprintf(out + cut_out, CUT_MARK + 1, "%%~%016" PRIx64,
				 hash);
			return cut_out + CUT_MARK;
		}
		memcpy(out + n, one, more);
		n += more;
	}
	out[n] = '\0';
	return n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

const char *wfs_name_file(const char *name, size_t len,
			  char room[WFS_FILE_NAME_MAX + 1])
{
	if (wfs_name_is_plain(name, len))
		return name;
	wfs_name_escape(name, len, room);
	return room;
}

ssize_t wfs_name_unescape(const char *file_name,
			  char out[WFS_FILE_NAME_MAX + 1])
{
	char name[WFS_FILE_NAME_MAX + 1], again[WFS_FILE_NAME_MAX + 1];
	size_t len = strlen(file_name), n = 0;

	if (!len || len > WFS_FILE_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len && strcmp(file_name, "%"); i++) {
		int high, low;

		if (file_name[i] != '%') {
			name[n++] = file_name[i];
			continue;
		}
		if (file_name[i + 1] == '~')
			return -ENAMETOOLONG;
		high = hex_digit(file_name[i + 1]);
		low = high < 0 ? -1 : hex_digit(file_name[i + 2]);
		if (low < 0)
			return -EINVAL;
		name[n++] = (char)(high << 4 | low);
		i += 2;
	}
	/* Only what escaping would have written: "%41" is nobody's name. */
	wfs_name_escape(name, n, again);
	if (strcmp(again, file_name))
		return -EINVAL;
	memcpy(out, name, n);
	out[n] = '\0';
	return (ssize_t)n;
}

size_t wfs_name_to_text(const char *name, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (name[i]) {
			out[n++] = name[i];
		} else {
			out[n++] = (char)0xc0;
			out[n++] = (char)0x80;
		}
	}
	out[n] = '\0';
	return n;
}
