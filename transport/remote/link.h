/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a seed is reached: its address, and what both sides show each other.
 *
 * Control requests go through here: small, bounded, with a time limit.  The
 * bytes of chunks do not (stream.h).
 */
#ifndef WFS_TRANSPORT_REMOTE_LINK_H
#define WFS_TRANSPORT_REMOTE_LINK_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/* What a node shows to seeds, and how it knows them. */
struct wfs_security {
	char *token;		    /* after "Bearer "; NULL: none */
	char *ca_file;		    /* NULL: those of the system */
	char *cert_file, *key_file; /* NULL: no certificate of ours */
};

/* One address of a seed.  Immutable. */
struct wfs_link {
	char *base;    /* "http://host:port" */
	char *label;   /* the same with the address, where that says more */
	char *address; /* numeric, IPv6 in brackets */
	const struct wfs_security *security;
};

/*
 * Takes "http://host[:port][/v1/models/NAME]" apart; the port is 7420 where
 * there is none.  *ret_base is "scheme://host:port", *ret_host for a look-up
 * of the name, *ret_model NULL without one.  The caller frees all.  -EINVAL
 * with a sentence.
 */
struct wfs_url {
	char *base, *host, *model;
	uint16_t port;
};
int wfs_url_parse(const char *text, struct wfs_url *ret, struct wfs_err *err);
void wfs_url_clear(struct wfs_url *url);

struct wfs_link *wfs_link_new(const struct wfs_url *url, const char *address,
			      const struct wfs_security *security);
void wfs_link_free(struct wfs_link *link);

/* What every request has in common; `headers` gets those to send. */
void wfs_link_setup(const struct wfs_link *link, CURL *curl,
		    struct curl_slist **headers);

struct wfs_http {
	long status; /* 200, 202, 304 … */
	char *body;  /* `len` bytes and as many zeros as JSON wants */
	size_t len;
	char etag[128]; /* "" without */
};

/*
 * GET base + path with `curl` (a handle of the caller's thread, kept for its
 * connection), which ends soon after *stop was set.  `etag` may be NULL.  At
 * most `limit` bytes and `timeout_ms`.  A status of 400 or more is an error:
 * -EACCES for 401, -EPROTONOSUPPORT for 426 …, with a sentence that names the
 * seed.
 */
struct wfs_get {
	const char *path, *etag;
	uint64_t range; /* only so many bytes, from the start; 0: all */
	size_t limit;
	long timeout_ms;
	const atomic_bool *stop;
};
int wfs_http_get(const struct wfs_link *link, CURL *curl,
		 const struct wfs_get *get, struct wfs_http *ret,
		 struct wfs_err *err);
void wfs_http_clear(struct wfs_http *http);

/* The sentence of an error's JSON body, or NULL; the caller frees it. */
char *wfs_http_sentence(const char *body, size_t len);

#endif
