/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs export`: a layout's files written for real.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/export.h"
#include "tools/layout_arg.h"
#include "tools/path.h"

struct args {
	const char *model, *dir;
	bool raw, force;
	struct wfs_layout_settings settings;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->settings;
		return 0;
	case 'r':
		args->raw = true;
		return 0;
	case 'f':
		args->force = true;
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->model, &args->dir);
		return 0;
	case ARGP_KEY_END:
		if (!args->dir)
			argp_error(state, "%s is missing",
				   args->model ? "DIR" : "MODEL@tpN");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "force", 'f', NULL, 0,
	  "Replace files that hold something else, remove parts of other "
	  "layouts",
	  0 },
	{ "raw", 'r', NULL, 0,
	  "Write each tensor to a file RANK/TENSOR of its own", 0 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &wfs_layout_argp_parts, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"MODEL@tpN[ppM][+hf] DIR",
	"Writes the files of a layout of the checkpoint MODEL to the directory "
	"DIR, and the checkpoint's other files beside them.\v"
	"An export that was interrupted goes on when the same command is given "
	"again.  A file has its name only when all of it is on the disk.",
	children,
	NULL,
	NULL,
};

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void print_sum(const struct wfs_export *x)
{
	char target[4096], name[512], bytes[32];

	wfs_text_escape(x->target, target, sizeof(target));
	wfs_text_escape(x->layout->name, name, sizeof(name));
	printf("'%s': %s, %" PRIu64 " file%s of %s written", target, name,
	       x->written, plural(x->written),
	       wfs_size_format(x->written_bytes, bytes, sizeof(bytes)));
	if (x->kept)
		printf(", %" PRIu64 " of %s %s there already", x->kept,
		       wfs_size_format(x->kept_bytes, bytes, sizeof(bytes)),
		       x->kept == 1 ? "was" : "were");
	printf("\n");
}

static int export(const struct args *args, struct wfs_err *err)
{
	char *dir wfs_autofree = wfs_path_absolute(args->dir);
	struct wfs_export x = {
		.target = dir,
		.raw = args->raw,
		.force = args->force,
	};
	struct wfs_layout_open open;
	int rc = wfs_layout_open_arg(args->model, &args->settings, &open, err);

	if (rc)
		return rc;
	x.layout = open.layout;
	x.base_path = open.base->source->label;
	rc = wfs_export_run(&x, err);
	if (!rc)
		print_sum(&x);
	wfs_export_clear(&x);
	wfs_layout_close(&open);
	return rc;
}

int wfs_cmd_export(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct args args = { .settings = WFS_LAYOUT_SETTINGS_INIT };
	struct wfs_err err = { 0 };

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	if (!export(&args, &err))
		return WFS_EXIT_OK;
	wfs_complain("%s", err.text);
	return WFS_EXIT_FAILURE;
}
