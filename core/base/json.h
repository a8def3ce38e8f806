/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from files that others wrote: yyjson with the rules that it leaves to
 * us.
 *
 * Text must be UTF-8; keys that appear twice are an error, which the library
 * does not look for.  Parsing is in place: strings lie in the caller's text,
 * and the values take at most WFS_JSON_COST bytes for each byte of it, valid or
 * not.
 */
#ifndef WFS_CORE_BASE_JSON_H
#define WFS_CORE_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "core/base/err.h"

/* Zero bytes that must follow the text. */
#define WFS_JSON_PADDING 8
/* Bytes of memory for each byte of text, at worst ("[[]]"). */
#define WFS_JSON_COST 13

/*
 * Parses text[0 … len), which is followed by WFS_JSON_PADDING writable bytes
 * of the caller's (they are overwritten) and is changed.  Free the result
 * with yyjson_doc_free; its strings are valid as long as `text` is.
 *
 * -EBADMSG with "<what>: not valid UTF-8 at byte N" or "<what>: not valid
 * JSON at byte N: reason"; -ENOMEM.
 */
int wfs_json_parse(char *text, size_t len, const char *what,
		   yyjson_doc **ret_doc, struct wfs_err *err);

/* The key of `object` that appears more than once, or NULL. */
yyjson_val *wfs_json_repeated_key(yyjson_val *object);

/* Is the key, NULs and all, this word? */
bool wfs_json_key_is(yyjson_val *key, const char *word);

/*
 * The length of the longest prefix that is valid UTF-8 (no surrogates, no
 * overlong forms, nothing over U+10FFFF): `len` when all of it is.
 */
size_t wfs_utf8_span(const char *text, size_t len);

#endif
