/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See caller.h.
 */
#include "fs/caller.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/mem.h"

#define PROC_MAX (64 * 1024) /* of a file of /proc */

/* Of "pid (name) S ppid …": the name may hold anything. */
static int start_of(pid_t tgid, uint64_t *ret_started)
{
	char *path wfs_autofree = wfs_asprintf("/proc/%d/stat", tgid);
	char *text wfs_autofree = NULL;
	const char *at;
	size_t len;

	if (wfs_file_slurp(path, PROC_MAX, &text, &len) != 0)
		return -ESRCH;
	at = strrchr(text, ')');
	/* The 22nd field; the one after the name is the third. */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -ESRCH;
	*ret_started = strtoull(at, NULL, 10);
	return 0;
}

int wfs_caller_find(pid_t tid, uid_t uid, struct wfs_caller *ret_caller)
{
	static const char tgid[] = "\nTgid:";
	char *path wfs_autofree = wfs_asprintf("/proc/%d/status", tid);
	struct wfs_caller caller = { .uid = uid };
	char *text wfs_autofree = NULL;
	const char *at;
	size_t len;
	int rc;

	if (tid <= 0)
		return -EXDEV;
	if (wfs_file_slurp(path, PROC_MAX, &text, &len) != 0)
		return -ESRCH;
	at = strstr(text, tgid);
	if (!at)
		return -ESRCH;
	caller.tgid = (pid_t)strtol(at + sizeof(tgid) - 1, NULL, 10);
	rc = start_of(caller.tgid, &caller.started);
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
	wfs_put_le32(text + 4, (uint32_t)caller->tgid);
	wfs_put_le64(text + 8, caller->started);
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
