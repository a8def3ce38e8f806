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

struct wfs_aws;

/* Immutable. */
struct wfs_site {
	char *base;		     /* ends in "/"; no query */
	char *label;		     /* for messages, ends in "/", too */
	const char *token, *ca_file; /* NULL: none; the system's */
	struct wfs_aws *aws;	     /* NULL: a plain web server */
	char *bucket, *bucket_url;   /* of S3; else NULL */
	const atomic_bool *stop;     /* ends what is under way */
};

/* What the head of an answer says of the file. */
struct wfs_web_head {
	long status;
	uint64_t size; /* of the whole file */
	bool has_size;
	uint64_t first; /* of a 206: the first byte that follows */
	bool is_html;
	char region[64];		/* of the bucket, where S3 tells; "" */
	char etag[WFS_WEB_TAG_MAX];	/* with its quotes; "" without one */
	char modified[WFS_WEB_TAG_MAX]; /* Last-Modified as it came; "" */
};

struct wfs_text;
/* Adds `text` percent-escaped; of what URLs know only "/" may stay. */
void wfs_web_escape(struct wfs_text *t, const char *text, bool keep_slashes);

/* The URL of `path` (unescaped) in the site; the caller frees it. */
char *wfs_web_url(const struct wfs_site *site, const char *path);

/*
 * What all requests have in common.  `head` is filled as the answer comes,
 * that of the last one where there are redirections.
 */
void wfs_web_setup(const struct wfs_site *site, CURL *curl,
		   struct wfs_web_head *head);

/*
 * Signs the request where the site wants that, and hands libcurl *headers
 * with what is added; the caller frees them after the transfer.
 */
int wfs_web_sign(const struct wfs_site *site, CURL *curl,
		 struct curl_slist **headers, struct wfs_err *err);

struct wfs_web_request {
	const char *url;
	const char *method;	    /* NULL: GET */
	const char *range;	    /* "0-99", or NULL: all of it */
	size_t limit;		    /* bytes of the body; 0: its head only */
	long ms;		    /* given up after that; 0: when it stalls */
	struct curl_slist *headers; /* the caller's; not with a signature */
	bool direct;		    /* no proxy, no redirection */
};

/*
 * Asks for something small; *ret_body (freed by the caller; NULL with `limit`
 * 0) is followed by the zeros that JSON wants.  0 whatever the status is;
 * -EFBIG, -ECONNREFUSED, -ETIMEDOUT, -ESHUTDOWN … with a sentence when there
 * is no answer.
 */
int wfs_web_ask(const struct wfs_site *site, CURL *curl,
		const struct wfs_web_request *request,
		struct wfs_web_head *ret_head, char **ret_body, size_t *ret_len,
		struct wfs_err *err);

/* The same for the file `path` of the site. */
int wfs_web_get(const struct wfs_site *site, CURL *curl, const char *path,
		size_t limit, struct wfs_web_head *ret_head, char **ret_body,
		size_t *ret_len, struct wfs_err *err);

/* What went wrong, as an errno. */
int wfs_web_code(CURLcode code);

#endif
