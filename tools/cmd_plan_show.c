/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs plan show`: how each tensor of a layout is put together; of the
 * tensors that are named also the pieces that are read.
 */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/cmd_plan.h"
#include "tools/grid.h"
#include "tools/inspect.h"
#include "tools/layout_arg.h"
#include "tools/pieces.h"

struct args {
	const char *model, *tensor;
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
		wfs_cmd_take(state, arg, &args->model, &args->tensor);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "MODEL@tpN is missing");
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
	{ &wfs_layout_argp_parts, 0, NULL, 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"MODEL@tpN[ppM][+hf] [TENSOR]",
	"Shows how the tensors of a layout are put together from those of the "
	"checkpoint.\v"
	"TENSOR is a tensor's name in the layout, RANK/NAME, or a pattern as "
	"the shell has them; then the pieces that are read are shown as well.",
	children,
	NULL,
	NULL,
};

/* Is it the one that was asked for, in this rank? */
static bool is_wanted(const struct args *args, const struct wfs_rank *rank,
		      const struct wfs_tensor *t)
{
	char *path wfs_autofree = NULL;
	const char *w = args->tensor;

	if (!w || !strcmp(w, t->name) || !fnmatch(w, t->name, 0))
		return true;
	path = wfs_asprintf("%s/%s", rank->name, t->file_name);
	return !strcmp(w, path) || !fnmatch(w, path, 0);
}

typedef int visit_fn(const struct wfs_model *m, uint32_t rank, uint32_t index,
		     void *ctx, struct wfs_err *err);

/* Calls `visit` for each tensor that is wanted; -ENOENT if none is. */
static int each(const struct args *args, const struct wfs_model *m,
		visit_fn *visit, void *ctx, struct wfs_err *err)
{
	bool found = !args->tensor;

	for (uint32_t r = 0; r < m->rank_count; r++) {
		for (uint32_t i = 0; i < m->ranks[r].count; i++) {
			int rc;

			if (!is_wanted(args, &m->ranks[r],
				       &m->ranks[r].tensors[i]))
				continue;
			found = true;
			rc = visit(m, r, i, ctx, err);
			if (rc)
				return rc;
		}
	}
	if (!found)
		return wfs_err_set(err, -ENOENT,
				   "'%s' has no tensor '%s': without TENSOR "
				   "all of them are shown",
				   m->name, args->tensor);
	return 0;
}

/* As one line; describing may take several. */
static char *describe(const struct wfs_model *m, uint32_t rank, uint32_t index,
		      struct wfs_err *err)
{
	struct wfs_text text = { 0 };

	if (wfs_layout_describe(m, rank, index, &text, err)) {
		free(text.data);
		return NULL;
	}
	wfs_text_add(&text, "%s", "");
	return text.data;
}

static int add_line(const struct wfs_model *m, uint32_t rank, uint32_t index,
		    void *ctx, struct wfs_err *err)
{
	const struct wfs_tensor *t = &m->ranks[rank].tensors[index];
	char *how wfs_autofree = describe(m, rank, index, err);
	char *shape wfs_autofree = wfs_inspect_shape(t);
	struct wfs_grid *grid = ctx;

	if (!how)
		return err->code;
	wfs_grid_add(grid, "%s", m->ranks[rank].name);
	wfs_grid_add(grid, "%s", t->name);
	wfs_grid_add(grid, "%s", wfs_dtype_name((enum wfs_dtype)t->dtype));
	wfs_grid_add(grid, "%s", shape);
	wfs_grid_add(grid, "%s", how);
	return 0;
}

static int print_table(const struct args *args, const struct wfs_model *m,
		       struct wfs_err *err)
{
	static const char *const heads[] = { "RANK", "TENSOR", "DTYPE", "SHAPE",
					     "IS" };
	struct wfs_grid grid = { .columns = "lllll" };
	int rc;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	rc = each(args, m, add_line, &grid, err);
	wfs_grid_finish(&grid, "", stdout);
	return rc;
}

static int print_tensor(const struct wfs_model *m, uint32_t rank,
			uint32_t index, void *ctx, struct wfs_err *err)
{
	const struct wfs_tensor *t = &m->ranks[rank].tensors[index];
	char *how wfs_autofree = describe(m, rank, index, err);
	char *shape wfs_autofree = wfs_inspect_shape(t);
	struct wfs_recipe *recipe;
	bool *first = ctx;
	char name[1024];
	int rc;

	if (!how)
		return err->code;
	rc = wfs_recipe_of_tensor(m, rank, index, &recipe, err);
	if (rc)
		return rc;
	wfs_text_escape(t->name, name, sizeof(name));
	printf("%s%s/%s  %s %s  %" PRIu64 " bytes\n", *first ? "" : "\n",
	       m->ranks[rank].name, name,
	       wfs_dtype_name((enum wfs_dtype)t->dtype), shape, t->size);
	printf("  in %s at %" PRIu64 "\n", m->entries[t->shard].path, t->off);
	printf("  = %s\n", how);
	*first = false;
	wfs_pieces_print(recipe, "  ");
	wfs_recipe_free(recipe);
	return 0;
}

struct json {
	struct wfs_text text;
	bool pieces;
};

static int add_json(const struct wfs_model *m, uint32_t rank, uint32_t index,
		    void *ctx, struct wfs_err *err)
{
	const struct wfs_tensor *t = &m->ranks[rank].tensors[index];
	char *how wfs_autofree = describe(m, rank, index, err);
	char *shape wfs_autofree = wfs_inspect_shape(t);
	struct json *json = ctx;
	int rc = 0;

	if (!how)
		return err->code;
	wfs_text_add(&json->text, "%s\n  {\"rank\": \"%s\", \"name\": ",
		     json->text.len ? "," : "", m->ranks[rank].name);
	wfs_inspect_add_name(&json->text, t->name);
	wfs_text_add(&json->text,
		     ", \"dtype\": \"%s\", \"shape\": %s, "
		     "\"bytes\": %" PRIu64 ", \"file\": ",
		     wfs_dtype_name((enum wfs_dtype)t->dtype), shape, t->size);
	wfs_text_add_json(&json->text, m->entries[t->shard].path);
	wfs_text_add(&json->text,
		     ", \"offset\": %" PRIu64 ", \"is\": ", t->off);
	wfs_text_add_json(&json->text, how);
	if (json->pieces) {
		struct wfs_recipe *recipe;

		rc = wfs_recipe_of_tensor(m, rank, index, &recipe, err);
		if (rc)
			return rc;
		wfs_text_add(&json->text, ", \"pieces\": ");
		wfs_pieces_add_json(&json->text, recipe);
		wfs_recipe_free(recipe);
	}
	wfs_text_add(&json->text, "}");
	return rc;
}

static int print_json(const struct args *args, const struct wfs_model *m,
		      struct wfs_err *err)
{
	struct json json = { .pieces = args->tensor };
	struct wfs_text head = { 0 };
	int rc = each(args, m, add_json, &json, err);

	if (!rc) {
		wfs_text_add(&head, "{\"layout\": ");
		wfs_text_add_json(&head, m->name);
		wfs_text_add(&head, ", \"plan\": ");
		wfs_text_add_json(&head, wfs_layout_plan(m));
		printf("%s, \"tensors\": [%s]}\n", head.data,
		       json.text.data ? json.text.data : "");
	}
	free(head.data);
	free(json.text.data);
	return rc;
}

int wfs_cmd_plan_show(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct args args = { .settings = WFS_LAYOUT_SETTINGS_INIT };
	struct wfs_layout_open open;
	struct wfs_err err = { 0 };
	bool first = true;
	int rc;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	rc = wfs_layout_open_arg(args.model, &args.settings, &open, &err);
	if (!rc) {
		if (args.json)
			rc = print_json(&args, open.layout, &err);
		else if (args.tensor)
			rc = each(&args, open.layout, print_tensor, &first,
				  &err);
		else
			rc = print_table(&args, open.layout, &err);
		wfs_layout_close(&open);
	}
	if (rc)
		wfs_complain("%s", err.text);
	return rc ? WFS_EXIT_FAILURE : WFS_EXIT_OK;
}
