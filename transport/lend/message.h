/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two messages of lend.h, and the test that a peer is one of ours.
 */
#ifndef WFS_TRANSPORT_LEND_MESSAGE_H
#define WFS_TRANSPORT_LEND_MESSAGE_H

#include <stdbool.h>
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

#endif
