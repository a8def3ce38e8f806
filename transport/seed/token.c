/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bearer token, see token.h.
 */
#include <openssl/crypto.h>
#include <string.h>

#include "core/base/secret.h"
#include "core/digest/digests.h"
#include "transport/seed/token.h"

int wfs_token_load(const char *path, struct wfs_token *ret_token,
		   struct wfs_err *err)
{
	char *text;
	int rc = wfs_token_read(path, WFS_TOKEN_MAX, &text, err);

	if (rc)
		return rc;
	wfs_digest_bytes(WFS_SHA256, text, strlen(text), ret_token->sha256);
	wfs_token_free(text);
	return 0;
}

bool wfs_token_is(const struct wfs_token *token, const char *given)
{
	uint8_t sha256[32];

	wfs_digest_bytes(WFS_SHA256, given ? given : "",
			 given ? strlen(given) : 0, sha256);
	return CRYPTO_memcmp(sha256, token->sha256, sizeof(sha256)) == 0;
}
