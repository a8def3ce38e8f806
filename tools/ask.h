/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the daemon of a mount, through the mount.
 *
 * A daemon that hangs must not hang us, nor may we hold one of its files
 * while we unmount it, so a child asks and is killed when it takes too long.
 */
#ifndef WFS_TOOLS_ASK_H
#define WFS_TOOLS_ASK_H

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

#include "core/base/err.h"

/*
 * The text of `.weightfs/status.json` under `mountpoint`; the caller frees
 * it.  -ENOTCONN when the daemon is dead, -ETIMEDOUT when it does not answer
 * … with a sentence.
 */
int wfs_ask_status(const char *mountpoint, char **ret_text,
		   struct wfs_err *err);

/* The same, parsed; free it with yyjson_doc_free. */
int wfs_ask_status_json(const char *mountpoint, yyjson_doc **ret_doc,
			struct wfs_err *err);

/* Members of an object: 0, false or "" where there is none. */
uint64_t wfs_json_number(yyjson_val *object, const char *key);
double wfs_json_real(yyjson_val *object, const char *key);
bool wfs_json_true(yyjson_val *object, const char *key);
const char *wfs_json_text(yyjson_val *object, const char *key);

#endif
