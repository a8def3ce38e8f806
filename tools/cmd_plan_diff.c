/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs plan diff`: a layout compared with what an engine has saved.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/cmd_plan.h"
#include "tools/inspect.h"
#include "tools/layout_arg.h"
#include "tools/layout_diff.h"
#include "tools/open_model.h"
#include "tools/path.h"

struct args {
	const char *model, *dump;
	bool json;
	struct wfs_layout_settings settings;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->settings;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->model, &args->dump);
		return 0;
	case ARGP_KEY_END:
		if (!args->dump)
			argp_error(state, "%s is missing",
				   args->model ? "DUMPDIR" : "MODEL@tpN");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &wfs_layout_argp, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"MODEL@tpN[ppM][+hf] DUMPDIR",
	"Compares a layout, tensor by tensor and byte by byte, with the "
	"safetensors files that an engine has saved in DUMPDIR.\v"
	"A tensor is 'missing' when only the dump has it, 'extra' when only "
	"the layout has it.  Exits with 1 if anything differs.",
	children,
	NULL,
	NULL,
};

static const char *dtype_of(const struct wfs_tensor *t)
{
	return wfs_dtype_name((enum wfs_dtype)t->dtype);
}

static void print_row(const struct wfs_layout_difference *row)
{
	const struct wfs_tensor *a = row->layout, *b = row->dump;
	const struct wfs_tensor *one = a ? a : b;
	char *shape wfs_autofree = wfs_inspect_shape(one);
	char *other wfs_autofree = NULL;
	char name[1024];

	wfs_text_escape(one->name, name, sizeof(name));
	printf("%-7s %s/%s: ", wfs_layout_diff_name(row->kind), row->rank,
	       name);
	if (!a || !b) {
		printf("%s %s\n", dtype_of(one), shape);
	} else if (row->kind == WFS_DIFF_DTYPE) {
		printf("%s, in the dump %s\n", dtype_of(a), dtype_of(b));
	} else if (row->kind == WFS_DIFF_SHAPE) {
		other = wfs_inspect_shape(b);
		printf("%s, in the dump %s\n", shape, other);
	} else {
		printf("from byte %" PRIu64 " of %" PRIu64 "\n", row->at,
		       a->size);
	}
}

static uint64_t differing(const struct wfs_layout_diff *d)
{
	return d->kinds[WFS_DIFF_DTYPE] + d->kinds[WFS_DIFF_SHAPE] +
	       d->kinds[WFS_DIFF_BYTES];
}

static void print_people(const struct wfs_layout_diff *d)
{
	for (size_t i = 0; i < d->count; i++)
		print_row(&d->rows[i]);
	printf("equal %" PRIu64 ", differing %" PRIu64 " (dtype %" PRIu64
	       ", shape %" PRIu64 ", bytes %" PRIu64 "), missing %" PRIu64
	       ", extra %" PRIu64 "\n",
	       d->equal, differing(d), d->kinds[WFS_DIFF_DTYPE],
	       d->kinds[WFS_DIFF_SHAPE], d->kinds[WFS_DIFF_BYTES],
	       d->kinds[WFS_DIFF_MISSING], d->kinds[WFS_DIFF_EXTRA]);
}

static void add_side(struct wfs_text *text, const char *key,
		     const struct wfs_tensor *t)
{
	char *shape wfs_autofree = NULL;

	if (!t)
		return;
	shape = wfs_inspect_shape(t);
	wfs_text_add(text, ", \"%s\": {\"dtype\": \"%s\", \"shape\": %s}", key,
		     dtype_of(t), shape);
}

static void add_row(struct wfs_text *text,
		    const struct wfs_layout_difference *row)
{
	const struct wfs_tensor *t = row->layout ? row->layout : row->dump;

	wfs_text_add(text, "{\"what\": \"%s\", \"rank\": \"%s\", \"name\": ",
		     wfs_layout_diff_name(row->kind), row->rank);
	wfs_inspect_add_name(text, t->name);
	add_side(text, "layout", row->layout);
	add_side(text, "dump", row->dump);
	if (row->kind == WFS_DIFF_BYTES)
		wfs_text_add(text, ", \"at\": %" PRIu64, row->at);
	wfs_text_add(text, "}");
}

static void print_json(const struct wfs_model *layout, const char *dump,
		       const struct wfs_layout_diff *d)
{
	struct wfs_text t = { 0 };

	wfs_text_add(&t, "{\"layout\": ");
	wfs_text_add_json(&t, layout->name);
	wfs_text_add(&t, ", \"plan\": ");
	wfs_text_add_json(&t, wfs_layout_plan(layout));
	wfs_text_add(&t, ", \"dump\": ");
	wfs_text_add_json(&t, dump);
	wfs_text_add(&t, ", \"equal\": %" PRIu64 ", \"differing\": %" PRIu64,
		     d->equal, differing(d));
	for (int k = 0; k < WFS_DIFF_KINDS; k++)
		wfs_text_add(&t, ", \"%s\": %" PRIu64,
			     wfs_layout_diff_name((enum wfs_layout_diff_kind)k),
			     d->kinds[k]);
	wfs_text_add(&t, ", \"differences\": [");
	for (size_t i = 0; i < d->count; i++) {
		wfs_text_add(&t, "%s\n  ", i ? "," : "");
		add_row(&t, &d->rows[i]);
	}
	printf("%s]}\n", t.data);
	free(t.data);
}

/* 0 when all is equal, 1 when not, or a negative errno. */
static int diff(const struct args *args, const struct wfs_model *layout,
		const char *path, struct wfs_err *err)
{
	struct wfs_layout_diff d = { 0 };
	struct wfs_model *dump;
	int rc = wfs_open_model(path, args->settings.follow_links, &dump, err);

	if (rc)
		return rc;
	if (!dump->rank_count)
		rc = wfs_err_set(err, -EINVAL,
				 "'%s' has no safetensors files to compare "
				 "with",
				 path);
	if (!rc)
		rc = wfs_layout_diff(layout, dump, &d, err);
	if (!rc) {
		rc = d.count > 0;
		if (args->json)
			print_json(layout, path, &d);
		else
			print_people(&d);
	}
	wfs_layout_diff_clear(&d);
	wfs_model_put(dump);
	return rc;
}

int wfs_cmd_plan_diff(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct args args = { .settings = WFS_LAYOUT_SETTINGS_INIT };
	struct wfs_layout_open open;
	char *dump wfs_autofree = NULL;
	struct wfs_err err = { 0 };
	int rc;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	dump = wfs_path_absolute(args.dump);
	rc = wfs_layout_open_arg(args.model, &args.settings, &open, &err);
	if (!rc) {
		rc = diff(&args, open.layout, dump, &err);
		wfs_layout_close(&open);
	}
	if (rc < 0)
		wfs_complain("%s", err.text);
	return rc ? WFS_EXIT_FAILURE : WFS_EXIT_OK;
}
