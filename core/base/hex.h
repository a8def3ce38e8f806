/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as hexadecimal digits: digests, tokens, ids.
 */
#ifndef WFS_CORE_BASE_HEX_H
#define WFS_CORE_BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Writes 2 * len lower-case digits and a NUL; returns `text`. */
char *wfs_hex_format(const void *bytes, size_t len, char *text);

/*
 * Reads exactly 2 * len digits of either case, which `text` (of `text_len`
 * bytes) must be: 0, or -EINVAL with ret_bytes untouched.
 */
int wfs_hex_parse(const char *text, size_t text_len, void *ret_bytes,
		  size_t len);

#endif
