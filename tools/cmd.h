/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sub-commands share.
 *
 * A sub-command is one function in a file of its own, cmd_<name>.c, and one
 * row in the table of main_program.c.  It gets its own part of the command
 * line: argv[0] is "weightfs <name>", which is also how argp then names the
 * program.  It returns the exit status.
 */
#ifndef WFS_TOOLS_CMD_H
#define WFS_TOOLS_CMD_H

#include <argp.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/source.h"

enum wfs_exit {
	WFS_EXIT_OK = 0,
	WFS_EXIT_FAILURE = 1,
	WFS_EXIT_USAGE = 2,
};

/* What a program that links all of this may add; NULL or {0}: nothing. */
struct wfs_hooks {
	/*
	 * Called for every source that is opened for serving: takes over the
	 * caller's reference to `inner`, returns the source to use.
	 */
	struct wfs_source *(*wrap_source)(struct wfs_source *inner);
};

/* The whole program.  The exit status. */
int wfs_main(int argc, char **argv, const struct wfs_hooks *hooks);

typedef int wfs_cmd_fn(int argc, char **argv, const struct wfs_hooks *hooks);

wfs_cmd_fn wfs_cmd_mount;
wfs_cmd_fn wfs_cmd_mount_helper; /* as mount(8) calls a helper */
wfs_cmd_fn wfs_cmd_seed;
wfs_cmd_fn wfs_cmd_umount;
wfs_cmd_fn wfs_cmd_status;
wfs_cmd_fn wfs_cmd_inspect;
wfs_cmd_fn wfs_cmd_plan;
wfs_cmd_fn wfs_cmd_export;
wfs_cmd_fn wfs_cmd_digest;
wfs_cmd_fn wfs_cmd_doctor;
wfs_cmd_fn wfs_cmd_du;
wfs_cmd_fn wfs_cmd_evict;
wfs_cmd_fn wfs_cmd_warm;
wfs_cmd_fn wfs_cmd_version;

/*
 * Parses the command line.  Returns only when it was right: for --help and
 * for a mistake argp ends the program (0, or WFS_EXIT_USAGE after a message
 * and a hint), so nothing that needs cleaning up may be held yet.
 */
void wfs_cmd_parse(const struct argp *argp, int argc, char **argv, void *input);

/*
 * Takes one more word that is no option as the first of the two that is not
 * set yet; `second` may be NULL.  One too many is a mistake.
 */
void wfs_cmd_take(struct argp_state *state, const char *arg, const char **first,
		  const char **second);

/* One line on stderr: "weightfs: " and the text, control bytes escaped. */
void wfs_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
