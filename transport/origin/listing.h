/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a directory on a web server has: see origin.h for where that is
 * learnt from.
 */
#ifndef WFS_TRANSPORT_ORIGIN_LISTING_H
#define WFS_TRANSPORT_ORIGIN_LISTING_H

#include "transport/origin/web.h"

#define WFS_WEB_FILES_MAX 20000u

struct wfs_web_file {
	char *path; /* relative, unescaped */
	uint64_t size;
	struct timespec mtime;		/* zero where the server tells none */
	char etag[WFS_WEB_TAG_MAX];	/* strong, with its quotes; "" */
	char modified[WFS_WEB_TAG_MAX]; /* as it came; "" */
};

struct wfs_web_listing {
	struct wfs_web_file *files; /* byte order of the paths */
	size_t count;
	bool no_ranges; /* the server sends whole files only */
};

/*
 * -ENOENT when there is no file of a checkpoint, -EACCES, -EBADMSG … with a
 * sentence that names the URL.
 */
int wfs_web_list(const struct wfs_site *site,
		 struct wfs_web_listing *ret_listing, struct wfs_err *err);
void wfs_web_listing_clear(struct wfs_web_listing *listing);

/*
 * The names that the links of a directory's page lead to, each with a NUL
 * behind it, in *ret_names (freed by the caller): only what lies in the
 * directory itself, unescaped, directories with their "/".  How many.
 */
size_t wfs_web_links(const char *page, size_t len, char **ret_names);

#endif
