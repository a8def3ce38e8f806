/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One directory on a web server: how it is asked, and what is said of a file.
 */
#ifndef WFS_TRANSPORT_ORIGIN_WEB_H
#define WFS_TRANSPORT_ORIGIN_WEB_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "core/base/err.h"

#define WFS_WEB_TAG_MAX 128

/* Immutable. */
struct wfs_site {
	char *base;		     /* ends in "/"; no query */
	const char *token, *ca_file; /* NULL: none; the system's */
	const atomic_bool *stop;     /* ends what is under way */
};

/* What the head of an answer says of the file. */
struct wfs_web_head {
	long status;
	uint64_t size; /* of the whole file */
	bool has_size;
	uint64_t first; /* of a 206: the first byte that follows */
	bool is_html;
	char etag[WFS_WEB_TAG_MAX];	/* with its quotes; "" without one */
	char modified[WFS_WEB_TAG_MAX]; /* Last-Modified as it came; "" */
};

/* The URL of `path` (unescaped) in the site; the caller frees it. */
char *wfs_web_url(const struct wfs_site *site, const char *path);

/*
 * What all requests have in common.  `head` is filled as the answer comes,
 * that of the last one where there are redirections.
 */
void wfs_web_setup(const struct wfs_site *site, CURL *curl,
		   struct wfs_web_head *head);

/*
 * GETs a small file whole into *ret_body (freed by the caller; followed by
 * the zeros that JSON wants), or with `limit` 0 asks for its head only.  0
 * whatever the status is; -EFBIG, -ECONNREFUSED, -ETIMEDOUT, -ESHUTDOWN … with
 * a sentence when there is no answer.
 */
int wfs_web_get(const struct wfs_site *site, CURL *curl, const char *path,
		size_t limit, struct wfs_web_head *ret_head, char **ret_body,
		size_t *ret_len, struct wfs_err *err);

/* What went wrong, as an errno. */
int wfs_web_code(CURLcode code);

#endif
