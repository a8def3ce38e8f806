/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs inspect`: what is in a checkpoint, without mounting it.
 */
#include "core/base/text.h"
#include "core/model/model.h"
#include "tools/cmd.h"
#include "tools/inspect.h"
#include "tools/open_model.h"
#include "tools/path.h"

struct args {
	const char *path;
	bool json, summary, follow_links;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case 's':
		args->summary = true;
		return 0;
	case 'L':
		args->follow_links = true;
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->path, NULL);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "PATH is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ "summary", 's', NULL, 0, "Only totals, not each tensor", 0 },
	{ "follow-links", 'L', NULL, 0,
	  "Follow links that leave the checkpoint", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"PATH",
	"Shows what is in the checkpoint PATH (a directory, a repository of a "
	"hub cache, or one safetensors file): tensors with dtype, shape, bytes "
	"and file, and totals.\v"
	"Exits with 1 and a sentence that names the file, the tensor and the "
	"rule when the checkpoint is broken.",
	NULL,
	NULL,
	NULL,
};

int wfs_cmd_inspect(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct wfs_inspect in = { 0 };
	struct wfs_model *model = NULL;
	struct wfs_err err = { 0 };
	char *path wfs_autofree = NULL;
	struct args args = { 0 };

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	path = wfs_path_absolute(args.path);
	if (wfs_open_model(path, args.follow_links, &model, &err)) {
		wfs_complain("%s", err.text);
		return WFS_EXIT_FAILURE;
	}
	in.path = path;
	in.model = model;
	wfs_inspect_add_up(&in);
	if (args.json)
		wfs_inspect_print_json(&in, !args.summary);
	else
		wfs_inspect_print(&in, !args.summary);
	wfs_inspect_clear(&in);
	wfs_model_put(model);
	return WFS_EXIT_OK;
}
