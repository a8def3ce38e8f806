/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS in front of the HTTP server.
 *
 * Each connection is accepted here, and a thread of its own does the
 * handshake and then carries bytes between it and a pair of sockets, whose
 * other end the HTTP server gets: to that, and to the streams that come out
 * of it, there is no TLS.  (The server's own TLS carries what was upgraded so
 * slowly, and ends it so late, that streams are of no use over it.)
 */
#ifndef WFS_TRANSPORT_SEED_TLS_H
#define WFS_TRANSPORT_SEED_TLS_H

#include "core/base/err.h"
#include "transport/seed/clients.h"

struct wfs_tls;

struct wfs_tls_config {
	const char *cert, *key;	     /* paths of PEM files */
	const char *client_ca;	     /* or NULL: nobody is asked for one */
	struct wfs_clients *clients; /* outlives this; as the limits it has */
	/*
	 * Takes `fd` over: the server's end of the pair, which the client was
	 * lent for.  -errno.
	 */
	int (*add)(void *ctx, int fd);
	void *ctx;
};

/* Reads the files.  -EINVAL and what open(2) says, with a sentence. */
int wfs_tls_new(const struct wfs_tls_config *config, struct wfs_tls **ret_tls,
		struct wfs_err *err);

/* Starts the thread that accepts.  `listener` stays the caller's.  -EAGAIN. */
int wfs_tls_start(struct wfs_tls *tls, int listener);

/* Accepts nobody any more. */
void wfs_tls_quiesce(struct wfs_tls *tls);

/* Returns when the last connection has ended.  NULL is fine. */
void wfs_tls_free(struct wfs_tls *tls);

#endif
