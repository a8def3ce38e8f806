/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules on top of yyjson: UTF-8 is checked before it parses, so that the
 * two kinds of bad text have sentences of their own, and keys are sorted to
 * find those that appear twice.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/keys.h"
#include "core/base/text.h"

size_t wfs_utf8_span(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint64_t eight;
		size_t n;

		if (len - i >= sizeof(eight)) {
			memcpy(&eight, text + i, sizeof(eight));
			if (!(eight & 0x8080808080808080ull)) {
				i += sizeof(eight);
				continue;
			}
		}
		n = wfs_utf8_sequence(text + i, len - i);
		if (!n)
			return i;
		i += n;
	}
	return len;
}

/*
 * The library's array of values grows with the brackets that it sees, closed
 * or not: what is larger than any valid text needs ends here.
 */
struct bound {
	size_t bytes;
	bool reached;
};

static void *bound_malloc(void *ctx, size_t size)
{
	struct bound *bound = ctx;

	bound->reached |= size > bound->bytes;
	return bound->reached ? NULL : malloc(size);
}

static void *bound_realloc(void *ctx, void *ptr, size_t old_size, size_t size)
{
	struct bound *bound = ctx;

	(void)old_size;
	bound->reached |= size > bound->bytes;
	return bound->reached ? NULL : realloc(ptr, size);
}

static void bound_free(void *ctx, void *ptr)
{
	(void)ctx;
	free(ptr);
}

/* The document keeps a copy of its allocator, which frees without a ctx. */
static yyjson_doc *read_bounded(char *text, size_t len, struct bound *bound,
				yyjson_read_err *why)
{
	yyjson_alc alc = { bound_malloc, bound_realloc, bound_free, bound };

	bound->bytes = yyjson_read_max_memory_usage(len, YYJSON_READ_INSITU);
	return yyjson_read_opts(text, len, YYJSON_READ_INSITU, &alc, why);
}

int wfs_json_parse(char *text, size_t len, const char *what,
		   yyjson_doc **ret_doc, struct wfs_err *err)
{
	yyjson_read_err why = { 0 };
	struct bound bound = { 0 };
	size_t good = wfs_utf8_span(text, len);
	yyjson_doc *doc;

	if (good < len)
		return wfs_err_set(err, -EBADMSG,
				   "%s: not valid UTF-8 at byte %zu", what,
				   good);
	_Static_assert(WFS_JSON_PADDING >= YYJSON_PADDING_SIZE,
		       "yyjson reads past the text");
	memset(text + len, 0, WFS_JSON_PADDING);
	doc = read_bounded(text, len, &bound, &why);
	if (doc) {
		*ret_doc = doc;
		return 0;
	}
	if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION && !bound.reached)
		return wfs_err_set(err, -ENOMEM,
				   "%s: no memory for %zu bytes of JSON", what,
				   len);
	if (bound.reached)
		return wfs_err_set(err, -EBADMSG,
				   "%s: not valid JSON: more brackets are "
				   "opened than %zu bytes can close",
				   what, len);
	return wfs_err_set(err, -EBADMSG, "%s: not valid JSON at byte %zu: %s",
			   what, why.pos, why.msg ? why.msg : "empty");
}

yyjson_val *wfs_json_repeated_key(yyjson_val *object)
{
	struct wfs_key *keys wfs_autofree = NULL;
	size_t count = yyjson_obj_size(object), n = 0, repeated;
	yyjson_obj_iter it = yyjson_obj_iter_with(object);
	yyjson_val *key;

	if (count < 2)
		return NULL;
	keys = wfs_malloc(count * sizeof(*keys));
	while ((key = yyjson_obj_iter_next(&it))) {
		keys[n].s = yyjson_get_str(key);
		keys[n].len = (uint32_t)yyjson_get_len(key);
		keys[n].tag = (uint32_t)n;
		n++;
	}
	wfs_keys_sort(keys, n);
	repeated = wfs_keys_repeated(keys, n);
	if (!repeated)
		return NULL;
	it = yyjson_obj_iter_with(object);
	for (size_t i = 0; i <= keys[repeated].tag; i++)
		key = yyjson_obj_iter_next(&it);
	return key;
}

bool wfs_json_key_is(yyjson_val *key, const char *word)
{
	size_t len = strlen(word);

	return yyjson_get_len(key) == len &&
	       !memcmp(yyjson_get_str(key), word, len);
}
