/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two messages of lend.h, and the test that a peer is one of ours.
 */
#ifndef WFS_TRANSPORT_LEND_MESSAGE_H
#define WFS_TRANSPORT_LEND_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/wire/frame.h"

#define WFS_LEND 1u /* the only operation */

struct wfs_lend_request {
	char magic[4]; /* "WFL1" */
	uint32_t op;
	uint8_t id[WFS_WIRE_ID_BYTES];
};

struct wfs_lend_answer {
	char magic[4]; /* "WFLA" */
	uint32_t status;
	uint64_t size;
};

/* Is whoever is at the other end our own user, or root? */
bool wfs_lend_is_ours(int socket);

/*
 * Sends a message, with the descriptor `fd` unless that is -1.  0, -EAGAIN
 * where it would block, another negative errno when the peer is gone.
 */
int wfs_lend_send(int socket, const void *message, size_t len, int fd);

/*
 * Receives exactly `len` bytes, and a descriptor where one came (else -1).
 * 0, -EBADMSG for anything of another form, -EIO when the peer is gone.
 */
int wfs_lend_receive(int socket, void *message, size_t len, int *ret_fd);

#endif
