/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a seed listens.
 */
#ifndef WFS_TRANSPORT_SEED_LISTEN_H
#define WFS_TRANSPORT_SEED_LISTEN_H

#include <stdbool.h>

#include "core/base/err.h"

#define WFS_LISTEN_HOST 256 /* bytes, with the NUL */
#define WFS_LISTEN_PORT 8

struct wfs_listener {
	int fd;	       /* listening; the caller's */
	bool loopback; /* nobody beyond this machine gets here */
	char name[80]; /* "127.0.0.1:7420", "[::1]:7420": as bound */
};

/*
 * Listens at "ADDR:PORT", "[V6]:PORT", "ADDR" (with the default port) or
 * ":PORT" (on every address); port 0 is any free one.  -EINVAL, -EADDRINUSE …
 * with a sentence.
 */
int wfs_listener_open(const char *address, struct wfs_listener *ret_listener,
		      struct wfs_err *err);

/* Only the syntax, into WFS_LISTEN_HOST and _PORT bytes.  -EINVAL. */
int wfs_listen_parse(const char *address, char *ret_host, char *ret_port);

#endif
