/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines of what serves, with argp.  The long options are made from the
 * option table; what they and -o say is kept until all has been seen, since
 * the config file, wherever it is named, comes before both.
 */
#include <argp.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/config.h"
#include "tools/mount_args.h"
#include "tools/path.h"

#define KEY_TABLE 0x1000 /* the table's rows, from here on */

struct cli {
	struct wfs_mount_args *args;
	enum wfs_args_kind kind;
	bool sloppy;
	const char *source, *mountpoint;
	/* As they came: -o lists have key NULL. */
	struct word {
		const char *key, *value;
	} * words;
	size_t count;
};

static void keep(struct cli *cli, const char *key, const char *value)
{
	cli->words =
		wfs_realloc(cli->words, (cli->count + 1) * sizeof(*cli->words));
	cli->words[cli->count++] = (struct word){ .key = key, .value = value };
}

static unsigned command_of(const struct cli *cli)
{
	return cli->kind == WFS_ARGS_SEED ? WFS_FOR_SEED : WFS_FOR_MOUNT;
}

static int apply(const struct cli *cli, struct wfs_options *options,
		 const char *config, struct wfs_err *err)
{
	int rc = 0;

	wfs_options_init(options);
	options->command = command_of(cli);
	if (config)
		rc = wfs_config_read(config, options, err);
	if (!rc && cli->source && strcmp(cli->source, "none") != 0)
		rc = wfs_options_set(options, "models", cli->source, err);
	for (size_t i = 0; !rc && i < cli->count; i++) {
		if (!cli->words[i].key)
			rc = wfs_options_set_list(options, cli->words[i].value,
						  cli->sloppy, err);
	}
	for (size_t i = 0; !rc && i < cli->count; i++) {
		if (cli->words[i].key)
			rc = wfs_options_set(options, cli->words[i].key,
					     cli->words[i].value, err);
	}
	return rc;
}

static void finish(struct cli *cli, struct argp_state *state)
{
	struct wfs_options *options = &cli->args->options;
	struct wfs_err err = { 0 };
	char *config;
	int rc;

	if (!cli->mountpoint && cli->kind != WFS_ARGS_SEED)
		argp_error(state, cli->kind == WFS_ARGS_HELPER ?
					  "SOURCE and MOUNTPOINT are missing" :
					  "MOUNTPOINT is missing");
	rc = apply(cli, options, NULL, &err);
	config = wfs_steal_ptr(&options->config);
	if (!rc && config) {
		wfs_options_clear(options);
		rc = apply(cli, options, config, &err);
	}
	free(config);
	if (rc)
		argp_error(state, "%s", err.text);
	if (!options->models_dir && !options->model_count &&
	    !options->seed_count)
		argp_error(state,
			   "nothing to %s: name a directory of "
			   "checkpoints (models=DIR) or a checkpoint "
			   "(model=NAME=DIR)%s",
			   cli->kind == WFS_ARGS_SEED ? "seed" : "mount",
			   cli->kind == WFS_ARGS_SEED ?
				   "" :
				   ", or a seed (seed=URL)");
	if (cli->mountpoint)
		cli->args->mountpoint = wfs_path_mountpoint(cli->mountpoint);
}

static void take_positional(struct cli *cli, const char *arg,
			    struct argp_state *state)
{
	if (cli->kind == WFS_ARGS_HELPER && !cli->source)
		cli->source = arg;
	else if (!cli->mountpoint && cli->kind != WFS_ARGS_SEED)
		cli->mountpoint = arg;
	else
		argp_error(state, "there is an argument too many: '%s'", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct cli *cli = state->input;

	switch (key) {
	case 'o':
		keep(cli, NULL, arg);
		return 0;
	case 'f':
		cli->args->fake = cli->kind == WFS_ARGS_HELPER;
		cli->args->foreground = !cli->args->fake;
		return 0;
	case 's':
		cli->sloppy = true;
		return 0;
	case 'v':
		cli->args->verbose = true;
		return 0;
	case 'n':
	case 'r':
	case 'w':
	case 't':
		return 0; /* mount(8) gives them; see the table below */
	case ARGP_KEY_ARG:
		take_positional(cli, arg, state);
		return 0;
	case ARGP_KEY_END:
		finish(cli, state);
		return 0;
	default:
		if (key < KEY_TABLE ||
		    (size_t)(key - KEY_TABLE) >= wfs_option_count)
			return ARGP_ERR_UNKNOWN;
		keep(cli, wfs_option_table[key - KEY_TABLE].key, arg);
		return 0;
	}
}

/* Long options spell '_' as '-'; the caller frees the name. */
static char *long_name(const char *key)
{
	char *name = wfs_strdup(key);

	for (char *p = name; *p; p++) {
		if (*p == '_')
			*p = '-';
	}
	return name;
}

/* The rows of the table that the command has; the caller frees names. */
static size_t make_options(const struct cli *cli, struct argp_option *options)
{
	size_t n = 0;

	for (size_t i = 0; i < wfs_option_count; i++) {
		const struct wfs_option *row = &wfs_option_table[i];

		if (!(row->commands & command_of(cli)))
			continue;
		options[n++] = (struct argp_option){
			.name = long_name(row->key),
			.key = KEY_TABLE + (int)i,
			.arg = row->arg ? row->arg : "on|off",
			.flags = row->arg ? 0 : OPTION_ARG_OPTIONAL,
			.doc = row->help,
		};
	}
	return n;
}

static void parse_ours(int argc, char **argv, struct cli *cli)
{
	static const struct argp_option fixed[] = {
		{ NULL, 'o', "OPT[=VALUE],...", 0,
		  "The same options as a list, spelled with '_'", 1 },
		{ "foreground", 'f', NULL, 0, "Stay in front and log to stderr",
		  1 },
		{ 0 },
	};
	static const char mount_doc[] =
		"Serves checkpoints as files under MOUNTPOINT.\v"
		"Returns once the mount answers. A config file comes before "
		"-o, and -o before the other options. See weightfs(1).";
	static const char seed_doc[] =
		"Offers checkpoints to other nodes, and to any HTTP client."
		"\v"
		"Returns once the seed answers. A config file (section [seed]) "
		"comes before -o, and -o before the other options. See "
		"weightfs(1).";
	bool seeds = cli->kind == WFS_ARGS_SEED;
	struct argp_option *options wfs_autofree =
		wfs_calloc(wfs_option_count + 3, sizeof(*options));
	size_t n = make_options(cli, options);
	struct argp argp = {
		options,
		parse,
		seeds ? "" : "MOUNTPOINT",
		seeds ? seed_doc : mount_doc,
		NULL,
		NULL,
		NULL,
	};

	memcpy(&options[n], fixed, sizeof(fixed));
	wfs_cmd_parse(&argp, argc, argv, cli);
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)options[i].name);
}

static void parse_helper(int argc, char **argv, struct cli *cli)
{
	static const struct argp_option options[] = {
		{ NULL, 'o', "OPT[=VALUE],...", 0, "Options of the mount", 0 },
		{ NULL, 's', NULL, 0, "Leave out options we do not know", 0 },
		{ NULL, 'f', NULL, 0, "Do all but the mount", 0 },
		{ NULL, 'v', NULL, 0, "Say what is mounted", 0 },
		{ NULL, 'n', NULL, 0, "Nothing: no mtab is written", 0 },
		{ NULL, 'r', NULL, 0, "Nothing: it is always read-only", 0 },
		{ NULL, 'w', NULL, 0, "Nothing: it is always read-only", 0 },
		{ NULL, 't', "TYPE", 0, "Nothing: there is one type", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		options,
		parse,
		"SOURCE MOUNTPOINT",
		"Mounts the checkpoints of directory SOURCE ('none': those of "
		"the options).\vCalled by mount(8); see mount.weightfs(8).",
		NULL,
		NULL,
		NULL,
	};

	wfs_cmd_parse(&argp, argc, argv, cli);
}

void wfs_mount_args_parse(int argc, char **argv, enum wfs_args_kind kind,
			  struct wfs_mount_args *args)
{
	struct cli cli = { .args = args, .kind = kind };

	*args = (struct wfs_mount_args){ 0 };
	if (kind == WFS_ARGS_HELPER)
		parse_helper(argc, argv, &cli);
	else
		parse_ours(argc, argv, &cli);
	free(cli.words);
}

void wfs_mount_args_clear(struct wfs_mount_args *args)
{
	wfs_options_clear(&args->options);
	free(args->mountpoint);
}
