/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sub-commands share, see cmd.h.
 */
#include "tools/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"

void wfs_cmd_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	/* Mistakes end the program inside; what is left is out of memory. */
	if (argp_parse(argp, argc, argv, 0, NULL, input)) {
		wfs_complain("cannot read the command line: %m");
		exit(WFS_EXIT_FAILURE);
	}
}

void wfs_cmd_take(struct argp_state *state, const char *arg, const char **first,
		  const char **second)
{
	if (!*first)
		*first = arg;
	else if (second && !*second)
		*second = arg;
	else
		argp_error(state, "there is an argument too many: '%s'", arg);
}

void wfs_complain(const char *fmt, ...)
{
	struct wfs_err err = { 0 };
	char *text wfs_autofree = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	/* For its escaping of control bytes: names come from strangers. */
	wfs_err_set(&err, -1, "%s", text ? text : "out of memory");
	fprintf(stderr, "weightfs: %s\n", err.text);
}
