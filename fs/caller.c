/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See caller.h.
 */
#include "fs/caller.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/base/bytes.h"

int wfs_caller_find(pid_t tid, uid_t uid, struct wfs_caller *ret_caller)
{
	struct wfs_caller caller = { .uid = uid };
	int rc = tid > 0 ? wfs_proc_find(tid, &caller.proc) : -EXDEV;

	if (!rc)
		*ret_caller = caller;
	return rc;
}

int wfs_caller_token(const uint8_t key[WFS_CALLER_KEY],
		     const struct wfs_caller *caller,
		     uint8_t ret_token[WFS_CALLER_TOKEN])
{
	uint8_t text[16];
	unsigned len = 0;

	wfs_put_le32(text, caller->uid);
	wfs_put_le32(text + 4, (uint32_t)caller->proc.tgid);
	wfs_put_le64(text + 8, caller->proc.started);
	return HMAC(EVP_sha256(), key, WFS_CALLER_KEY, text, sizeof(text),
		    ret_token, &len) &&
			       len == WFS_CALLER_TOKEN ?
		       0 :
		       -EIO;
}

bool wfs_caller_shows(const uint8_t key[WFS_CALLER_KEY],
		      const struct wfs_caller *caller,
		      const uint8_t token[WFS_CALLER_TOKEN])
{
	uint8_t right[WFS_CALLER_TOKEN];

	return wfs_caller_token(key, caller, right) == 0 &&
	       CRYPTO_memcmp(right, token, sizeof(right)) == 0;
}
