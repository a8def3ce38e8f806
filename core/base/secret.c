/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See secret.h.
 */
#include "core/base/secret.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"

static bool is_blank(char c)
{
	return c == '\n' || c == '\r' || c == ' ' || c == '\t';
}

static bool is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return len > 0;
}

int wfs_token_read(const char *path, size_t limit, char **ret_token,
		   struct wfs_err *err)
{
	char *text;
	size_t len;
	int rc = wfs_file_slurp(path, limit, &text, &len);

	if (rc)
		return wfs_err_set(err, rc, "cannot read token file '%s': %s",
				   path, strerror(-rc));
	while (len && is_blank(text[len - 1]))
		text[--len] = '\0';
	if (!is_token(text, len)) {
		explicit_bzero(text, len);
		free(text);
		return wfs_err_set(err, -EINVAL,
				   "token file '%s' must hold one line of "
				   "printable characters without blanks",
				   path);
	}
	*ret_token = text;
	return 0;
}

void wfs_token_free(char *token)
{
	if (token)
		explicit_bzero(token, strlen(token));
	free(token);
}
