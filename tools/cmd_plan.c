/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs plan`: from its second word to what does the work.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/cmd_plan.h"

static const struct command {
	const char *name;
	wfs_cmd_fn *run;
	const char *summary;
} commands[] = {
	{ "list", wfs_cmd_plan_list, "the plans there are" },
	{ "check", wfs_cmd_plan_check,
	  "which layouts a checkpoint has, and why not others" },
	{ "show", wfs_cmd_plan_show, "how each tensor is put together" },
	{ "diff", wfs_cmd_plan_diff, "compare with what an engine has saved" },
	{ "learn", wfs_cmd_plan_learn,
	  "write a plan from what an engine has saved" },
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
	fprintf(out, "usage: weightfs plan COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-7s%s\n", commands[i].name,
			commands[i].summary);
	fprintf(out, "\n'weightfs plan COMMAND --help' tells more, "
		     "and so does weightfs(1)\n");
}

int wfs_cmd_plan(int argc, char **argv, const struct wfs_hooks *hooks)
{
	char *name wfs_autofree = NULL;
	const struct command *command;

	if (argc < 2) {
		print_usage(stderr);
		return WFS_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?")) {
		print_usage(stdout);
		return WFS_EXIT_OK;
	}
	command = find_command(argv[1]);
	if (!command) {
		wfs_complain("there is no command 'plan %s'", argv[1]);
		fprintf(stderr,
			"Try 'weightfs plan --help' for the commands.\n");
		return WFS_EXIT_USAGE;
	}
	name = wfs_asprintf("weightfs plan %s", command->name);
	argv[1] = name;
	return command->run(argc - 1, argv + 1, hooks);
}
