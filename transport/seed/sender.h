/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends on the socket of a stream: from descriptors and from memory, under the
 * cap on the rate, to whoever keeps taking it.
 */
#ifndef WFS_TRANSPORT_SEED_SENDER_H
#define WFS_TRANSPORT_SEED_SENDER_H

#include "transport/seed/inner.h"

struct wfs_sender {
	struct wfs_seed *seed;
	int fd;	   /* does not block */
	bool turn; /* it has one, which it does without while it waits */
};

/*
 * Waits for the socket; a timeout below 0 is none.  0, -EPIPE when it or the
 * seed is over, -ETIMEDOUT.
 */
int wfs_sender_wait(const struct wfs_sender *sender, short events,
		    int timeout_ms);

/*
 * Sends all of it.  After any error the stream must end: what follows could
 * not be told apart.
 */
int wfs_sender_bytes(const struct wfs_sender *sender, const void *bytes,
		     size_t len, int flags);
int wfs_sender_stretch(const struct wfs_sender *sender,
		       const struct wfs_stretch *stretch);

#endif
