/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the command line to a sub-command.
 *
 * One program with sub-commands as git has them.  Under the names that
 * mount(8) looks for in /sbin it is a mount helper, so that a line in fstab
 * works; links to the one binary are all that takes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/cmd.h"
#include "transport/cuda/helper.h"

static const struct command {
	const char *name;
	wfs_cmd_fn *run;
	const char *summary;
} commands[] = {
	{ "mount", wfs_cmd_mount, "serve checkpoints as files" },
	{ "seed", wfs_cmd_seed, "offer checkpoints to other nodes" },
	{ "umount", wfs_cmd_umount, "take a mount away, or say who holds it" },
	{ "status", wfs_cmd_status, "models, memory, how reads are served" },
	{ "inspect", wfs_cmd_inspect,
	  "what is in a checkpoint, without mounting it" },
	{ "plan", wfs_cmd_plan,
	  "how checkpoints are cut for an engine's ranks" },
	{ "export", wfs_cmd_export, "write the files of a layout for real" },
	{ "digest", wfs_cmd_digest, "what a checkpoint's files hash to" },
	{ "doctor", wfs_cmd_doctor, "what the fast path needs and lacks here" },
	{ "du", wfs_cmd_du, "bytes in memory beside bytes in all" },
	{ "warm", wfs_cmd_warm, "bring files here before they are read" },
	{ "evict", wfs_cmd_evict, "drop from memory what nobody uses" },
	{ "version", wfs_cmd_version, "the version and what is compiled in" },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static void print_usage(FILE *out)
{
	fprintf(out, "usage: weightfs COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-9s%s\n", commands[i].name,
			commands[i].summary);
	fprintf(out, "\n'weightfs COMMAND --help' tells more, "
		     "and so does weightfs(1)\n");
}

static int run_command(const struct command *command, int argc, char **argv,
		       const struct wfs_hooks *hooks)
{
	char *name wfs_autofree = wfs_asprintf("weightfs %s", command->name);

	argv[0] = name;
	return command->run(argc, argv, hooks);
}

static int usage_error(const char *what, const char *word)
{
	wfs_complain("%s '%s'", what, word);
	fprintf(stderr, "Try 'weightfs --help' for the commands.\n");
	return WFS_EXIT_USAGE;
}

static int run_help(int argc, char **argv, const struct wfs_hooks *hooks)
{
	char help[] = "--help";
	char *with_help[] = { NULL, help, NULL };
	const struct command *command;

	if (argc < 2 || strcmp(argv[1], "help") == 0) {
		print_usage(stdout);
		return WFS_EXIT_OK;
	}
	command = find_command(argv[1]);
	if (!command)
		return usage_error("there is no command", argv[1]);
	return run_command(command, 2, with_help, hooks);
}

static int dispatch(int argc, char **argv, const struct wfs_hooks *hooks)
{
	const struct command *command;
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *base = slash ? slash + 1 : argc > 0 ? argv[0] : "";

	if (strcmp(base, "mount.weightfs") == 0 ||
	    strcmp(base, "mount.fuse.weightfs") == 0)
		return wfs_cmd_mount_helper(argc, argv, hooks);
	if (argc < 2) {
		print_usage(stderr);
		return WFS_EXIT_USAGE;
	}
	if (strcmp(argv[1], WFS_GPU_HELPER) == 0)
		return wfs_gpu_helper_main(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return run_help(1, argv, hooks);
	if (strcmp(argv[1], "help") == 0)
		return run_help(argc - 1, argv + 1, hooks);
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		command = find_command("version");
	else
		command = find_command(argv[1]);
	if (!command)
		return usage_error(argv[1][0] == '-' ? "there is no option" :
						       "there is no command",
				   argv[1]);
	return run_command(command, argc - 1, argv + 1, hooks);
}

int wfs_main(int argc, char **argv, const struct wfs_hooks *hooks)
{
	static const struct wfs_hooks none;
	int status;

	argp_err_exit_status = WFS_EXIT_USAGE;
	status = dispatch(argc, argv, hooks ? hooks : &none);
	if ((fflush(stdout) || ferror(stdout)) && status == WFS_EXIT_OK) {
		wfs_complain("cannot write the output: %m");
		status = WFS_EXIT_FAILURE;
	}
	return status;
}
