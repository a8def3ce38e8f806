/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets that lie in files: bearer tokens, of whoever asks and whoever is
 * asked.
 */
#ifndef WFS_CORE_BASE_SECRET_H
#define WFS_CORE_BASE_SECRET_H

#include <stddef.h>

#include "core/base/err.h"

/* Bytes of a token of seeds, with what is behind it in its file, at most. */
#define WFS_TOKEN_MAX 4096

/*
 * The token in a file of at most `limit` bytes: one line of printable ASCII
 * without blanks, which is what a header can carry unquoted; what is behind it
 * may be blank.  The caller hands it to wfs_token_free.  -EINVAL, or what
 * open(2) and read(2) say, with a sentence.
 */
int wfs_token_read(const char *path, size_t limit, char **ret_token,
		   struct wfs_err *err);
/* Leaves nothing of it in memory.  NULL is fine. */
void wfs_token_free(char *token);

#endif
