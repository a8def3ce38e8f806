/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of a directory's page.
 *
 * Nobody has laid down how such a page looks; all servers have an
 * <a href="…"> for each entry, and that is what is looked for.  A link that
 * leads anywhere else (up, to another host, to the same page sorted
 * otherwise) is none of ours.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/text.h"
#include "transport/origin/listing.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One entity or escape at `s`; how many bytes it is long, 0: none. */
static size_t decode(const char *s, size_t len, char *ret_byte)
{
	static const struct {
		const char *text;
		char byte;
	} entities[] = {
		{ "&amp;", '&' },   { "&quot;", '"' }, { "&#39;", '\'' },
		{ "&#x27;", '\'' }, { "&lt;", '<' },   { "&gt;", '>' },
	};

	if (*s == '%' && len >= 3 && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
		*ret_byte = (char)(hex(s[1]) * 16 + hex(s[2]));
		return 3;
	}
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		size_t n = strlen(entities[i].text);

		if (len >= n && !strncmp(s, entities[i].text, n)) {
			*ret_byte = entities[i].byte;
			return n;
		}
	}
	return 0;
}

/* Adds the name if it is that of an entry of this directory. */
static bool add_name(struct wfs_text *names, const char *link, size_t len)
{
	char *name wfs_autofree = wfs_malloc(len + 1);
	char *slash;
	size_t n = 0;

	if (len > 1 && link[0] == '.' && link[1] == '/') {
		link += 2;
		len -= 2;
	}
	if (!len || memchr(link, '?', len) || memchr(link, '#', len) ||
	    memchr(link, ':', len) || link[0] == '/')
		return false;
	for (size_t i = 0; i < len;) {
		char byte = link[i];
		size_t step = decode(link + i, len - i, &byte);

		if (!byte)
			return false;
		name[n++] = byte;
		i += step ? step : 1;
	}
	name[n] = '\0';
	slash = strchr(name, '/');
	if ((slash && slash[1]) || !strcmp(name, ".") || !strcmp(name, "..") ||
	    !strcmp(name, "./") || !strcmp(name, "../"))
		return false;
	wfs_text_add_bytes(names, name, n + 1);
	return true;
}

size_t wfs_web_links(const char *page, size_t len, char **ret_names)
{
	struct wfs_text names = { 0 };
	const char *end = page + len;
	size_t count = 0;

	while (end - page > 7) {
		const char *close;

		if (strncasecmp(page, "href=", 5) != 0 ||
		    (page[5] != '"' && page[5] != '\'')) {
			page++;
			continue;
		}
		close = memchr(page + 6, page[5], (size_t)(end - page) - 6);
		if (!close)
			break;
		count += add_name(&names, page + 6, (size_t)(close - page) - 6);
		page = close;
	}
	*ret_names = names.data;
	return count;
}
