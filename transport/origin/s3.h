/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buckets of S3 and of what speaks its protocol.
 *
 * `s3://bucket/prefix` is a directory like one on a web server, once its URL
 * is known and requests are signed: reads are the lane's, as everywhere.  What
 * differs is how files are listed (ListObjectsV2, which tells sizes and ETags
 * at once) and that errors come as XML.
 *
 * With an endpoint URLs are path-style (endpoint/bucket/key); at Amazon the
 * bucket is the host, unless it has dots, which certificates do not cover.
 */
#ifndef WFS_TRANSPORT_ORIGIN_S3_H
#define WFS_TRANSPORT_ORIGIN_S3_H

#include "transport/origin/aws.h"
#include "transport/origin/listing.h"

#define WFS_S3_SCHEME "s3://"

/* Is it s3://bucket or s3://bucket/prefix? */
bool wfs_s3_is_url(const char *text);

/* Fills base, label, bucket and bucket_url of a site that has its `aws`. */
void wfs_s3_site(const char *url, struct wfs_site *site);

/* As wfs_web_list. */
int wfs_s3_list(const struct wfs_site *site,
		struct wfs_web_listing *ret_listing, struct wfs_err *err);

/*
 * What is to be said of an answer that is neither 200 nor 206, into `err`,
 * whose code it returns: what is wrong, with which keys, and the remedy.
 * `path` is the file's, or NULL for a listing.
 */
int wfs_s3_explain(const struct wfs_site *site, const char *path,
		   const struct wfs_web_head *head, const char *body,
		   size_t len, struct wfs_err *err);

/* ---- the XML of answers, s3_xml.c */

/* One page of a listing; starts as {0}. */
struct wfs_s3_page {
	struct wfs_web_file *files; /* paths are keys, unescaped */
	size_t count;
	char *next; /* what to ask for the next page with; NULL: the last */
};

/* -EBADMSG with a sentence for what is no such page. */
int wfs_s3_page_parse(const char *xml, size_t len, struct wfs_s3_page *ret_page,
		      struct wfs_err *err);
void wfs_s3_page_clear(struct wfs_s3_page *page);

struct wfs_s3_error {
	char code[64], region[64], message[256]; /* "" where it tells none */
};

/* All empty for what is no error's XML. */
void wfs_s3_error_parse(const char *xml, size_t len,
			struct wfs_s3_error *ret_error);

#endif
