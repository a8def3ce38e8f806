/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token that a request must bring.  Only its SHA-256 is kept, and only
 * digests are compared, in constant time: how long a comparison takes says
 * nothing about the token, its length included.
 */
#ifndef WFS_TRANSPORT_SEED_TOKEN_H
#define WFS_TRANSPORT_SEED_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct wfs_token {
	uint8_t sha256[32];
};

/*
 * Reads the token from a file, as wfs_token_read does.
 */
int wfs_token_load(const char *path, struct wfs_token *ret_token,
		   struct wfs_err *err);

/* Is `given` (NULL: nothing was) this token? */
bool wfs_token_is(const struct wfs_token *token, const char *given);

#endif
