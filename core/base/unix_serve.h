/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that answers messages on a Unix socket (core/base/unix.h).
 *
 * One thread serves all clients, since an answer costs microseconds; a client
 * that does not take its answers is cut off rather than waited for.
 */
#ifndef WFS_CORE_BASE_UNIX_SERVE_H
#define WFS_CORE_BASE_UNIX_SERVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/base/err.h"

struct wfs_unix_server;

/* All functions are called by the server's thread, or by who stops it. */
struct wfs_unix_service {
	void *ctx;
	/*
	 * Made with `dir_mode` if need be.  NULL: `root_dir` for root, else
	 * weightfs/ in $XDG_RUNTIME_DIR.
	 */
	const char *dir, *root_dir;
	mode_t dir_mode;
	const char *name; /* of the socket's file, see wfs_unix_listen … */
	mode_t mode;	  /* … and its mode */
	unsigned most;	  /* clients at once */
	/*
	 * Somebody connected to the server at `path`; `full`: there are as
	 * many as may be, so false is the answer.  True: *ret_client (NULL so
	 * far) is what the other two are given.
	 */
	bool (*welcome)(void *ctx, const char *path, int socket, bool full,
			void **ret_client);
	/* One message; false: the client is to be cut off. */
	bool (*answer)(void *ctx, int socket, void *client);
	/* It is gone, or the server is.  May be NULL. */
	void (*leave)(void *ctx, void *client);
};

/* Copies the service; strings are needed till it returns only. */
int wfs_unix_server_start(const struct wfs_unix_service *service,
			  struct wfs_unix_server **ret_server,
			  struct wfs_err *err);
/* Where it listens: an absolute path, if the directory is one. */
const char *wfs_unix_server_path(const struct wfs_unix_server *server);
void wfs_unix_server_stop(struct wfs_unix_server *server); /* NULL is fine */

#endif
