/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bearer token, see token.h.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "transport/seed/token.h"

/* Printable ASCII without blanks: what a header can carry unquoted. */
static bool is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return len > 0;
}

int wfs_token_load(const char *path, struct wfs_token *ret_token,
		   struct wfs_err *err)
{
	char *text wfs_autofree = NULL;
	size_t len;
	int rc = wfs_file_slurp(path, WFS_TOKEN_BYTES_MAX, &text, &len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read token file '%s': %s",
				   path, strerror(-rc));
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (!is_token(text, len))
		rc = wfs_err_set(err, -EINVAL,
				 "token file '%s' must hold one line of "
				 "printable characters without blanks",
				 path);
	else
		wfs_digest_bytes(WFS_SHA256, text, len, ret_token->sha256);
	OPENSSL_cleanse(text, len);
	return rc;
}

bool wfs_token_is(const struct wfs_token *token, const char *given)
{
	uint8_t sha256[32];

	wfs_digest_bytes(WFS_SHA256, given ? given : "",
			 given ? strlen(given) : 0, sha256);
	return CRYPTO_memcmp(sha256, token->sha256, sizeof(sha256)) == 0;
}
