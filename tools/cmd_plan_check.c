/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs plan check`: which layouts a checkpoint has, by which plan, and
 * why it does not have the others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/cmd_plan.h"
#include "tools/grid.h"
#include "tools/layout_arg.h"
#include "tools/losses.h"

struct args {
	const char *model;
	const char **specs;
	size_t count;
	bool json;
	struct wfs_layout_settings settings;
};

/* One layout that was asked for. */
struct row {
	char *name; /* "tp4" */
	struct wfs_model *layout;
	struct wfs_err err; /* why there is none */
};

struct check {
	struct wfs_layout_open open;
	struct row *rows;
	size_t count;
	size_t refused;
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
		if (!args->model) {
			args->model = arg;
			return 0;
		}
		args->specs = wfs_realloc(args->specs,
					  (args->count + 1) * sizeof(char *));
		args->specs[args->count++] = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "MODEL is missing");
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
	"MODEL [@tpN[ppM][+hf]...]",
	"Tells for each layout of the checkpoint MODEL by which plan it is "
	"computed, what each rule covers, or why it is refused; and of what an "
	"engine saved (sharded_state) what of the checkpoint is lost.\v"
	"Without a layout tp1, tp2, tp4 and tp8 are tried.  Exits with 1 when "
	"one that was asked for is refused, or all that were tried are.",
	children,
	NULL,
	NULL,
};

static int add(struct check *check, const struct args *args, const char *text,
	       struct wfs_err *err)
{
	struct wfs_layout_spec spec;
	struct row *row;
	int rc = wfs_layout_arg_spec(text, &spec, err);

	if (rc)
		return rc;
	check->rows = wfs_realloc(check->rows,
				  (check->count + 1) * sizeof(*check->rows));
	row = &check->rows[check->count++];
	*row = (struct row){
		.name = wfs_strdup(text + (*text == '@')),
	};
	if (wfs_layout_open_another(&check->open, &spec, &args->settings,
				    &row->layout, &row->err))
		check->refused++;
	return 0;
}

static int add_all(struct check *check, const struct args *args,
		   const char *first, struct wfs_err *err)
{
	static const char *const usual[] = { "tp1", "tp2", "tp4", "tp8" };
	int rc = 0;

	if (first)
		rc = add(check, args, first, err);
	for (size_t i = 0; i < args->count && !rc; i++)
		rc = add(check, args, args->specs[i], err);
	for (size_t i = 0; i < 4 && !rc && !first && !args->count; i++)
		rc = add(check, args, usual[i], err);
	return rc;
}

static uint64_t tensors(const struct wfs_model *layout)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < layout->rank_count; i++)
		n += layout->ranks[i].count;
	return n;
}

static uint64_t largest_rank(const struct wfs_model *layout)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < layout->rank_count; i++)
		if (layout->ranks[i].bytes > bytes)
			bytes = layout->ranks[i].bytes;
	return bytes;
}

static void print_rows(const struct check *check)
{
	static const char *const heads[] = { "LAYOUT",	"PLAN",	 "RANKS",
					     "TENSORS", "BYTES", "OF A RANK" };
	struct wfs_grid grid = { .columns = "llrrrr" };

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	for (size_t i = 0; i < check->count; i++) {
		const struct wfs_model *layout = check->rows[i].layout;

		if (!layout)
			continue;
		wfs_grid_add(&grid, "%s", check->rows[i].name);
		wfs_grid_add(&grid, "%s", wfs_layout_plan(layout));
		wfs_grid_add(&grid, "%" PRIu32, layout->rank_count);
		wfs_grid_add(&grid, "%" PRIu64, tensors(layout));
		wfs_grid_add_size(&grid, layout->tensor_bytes);
		wfs_grid_add_size(&grid, largest_rank(layout));
	}
	wfs_grid_finish(&grid, "", stdout);
}

/* Of the first layout alone: the others' differ little, if at all. */
static void print_rules(const struct row *row)
{
	struct wfs_grid grid = { .columns = "rll" };
	struct wfs_layout_rule *rules;
	size_t count = wfs_layout_rules(row->layout, &rules);

	printf("\nWhat the rules of plan '%s' make for %s:\n",
	       wfs_layout_plan(row->layout), row->name);
	wfs_grid_add(&grid, "TENSORS");
	wfs_grid_add(&grid, "RULE");
	wfs_grid_add(&grid, "LINE");
	for (size_t i = 0; i < count; i++) {
		/* Those for other members of the family say nothing here. */
		if (!rules[i].tensors)
			continue;
		wfs_grid_add(&grid, "%" PRIu32, rules[i].tensors);
		wfs_grid_add(&grid, "%s", rules[i].target);
		wfs_grid_add(&grid, "%s:%" PRIu32, rules[i].file,
			     rules[i].line);
	}
	wfs_grid_finish(&grid, "", stdout);
	wfs_layout_rules_free(rules, count);
}

static void print_people(const struct check *check)
{
	if (check->refused < check->count)
		print_rows(check);
	for (size_t i = 0; i < check->count; i++)
		if (!check->rows[i].layout)
			printf("%s is refused: %s\n", check->rows[i].name,
			       check->rows[i].err.text);
	for (size_t i = 0; i < check->count; i++) {
		if (!check->rows[i].layout)
			continue;
		print_rules(&check->rows[i]);
		wfs_losses_print(check->rows[i].layout);
		break;
	}
}

static void add_rules(struct wfs_text *t, const struct wfs_model *layout)
{
	struct wfs_layout_rule *rules;
	size_t count = wfs_layout_rules(layout, &rules);

	wfs_text_add(t, ", \"rules\": [");
	for (size_t i = 0; i < count; i++) {
		wfs_text_add(t,
			     "%s{\"line\": %" PRIu32 ", \"tensors\": %" PRIu32
			     ", \"rule\": ",
			     i ? ", " : "", rules[i].line, rules[i].tensors);
		wfs_text_add_json(t, rules[i].target);
		wfs_text_add(t, ", \"file\": ");
		wfs_text_add_json(t, rules[i].file);
		wfs_text_add(t, "}");
	}
	wfs_text_add(t, "]");
	wfs_layout_rules_free(rules, count);
}

static void add_row(struct wfs_text *t, const struct row *row)
{
	const struct wfs_model *layout = row->layout;

	wfs_text_add(t, "{\"layout\": \"%s\"", row->name);
	if (!layout) {
		wfs_text_add(t, ", \"refused\": ");
		wfs_text_add_json(t, row->err.text);
		wfs_text_add(t, "}");
		return;
	}
	wfs_text_add(t, ", \"plan\": ");
	wfs_text_add_json(t, wfs_layout_plan(layout));
	wfs_text_add(t,
		     ", \"ranks\": %" PRIu32 ", \"tensors\": %" PRIu64
		     ", \"bytes\": %" PRIu64 ", \"rank_bytes\": %" PRIu64,
		     layout->rank_count, tensors(layout), layout->tensor_bytes,
		     largest_rank(layout));
	wfs_losses_add_json(t, layout);
	add_rules(t, layout);
	wfs_text_add(t, "}");
}

static void print_json(const struct check *check, const char *path)
{
	struct wfs_text t = { 0 };

	wfs_text_add(&t, "{\"path\": ");
	wfs_text_add_json(&t, path);
	wfs_text_add(&t, ", \"layouts\": [");
	for (size_t i = 0; i < check->count; i++) {
		wfs_text_add(&t, "%s", i ? ",\n  " : "\n  ");
		add_row(&t, &check->rows[i]);
	}
	printf("%s]}\n", t.data);
	free(t.data);
}

static void clear(struct check *check)
{
	for (size_t i = 0; i < check->count; i++) {
		wfs_model_put(check->rows[i].layout);
		free(check->rows[i].name);
	}
	free(check->rows);
	wfs_layout_close(&check->open);
}

static int run(const struct args *args, struct check *check,
	       struct wfs_err *err)
{
	struct wfs_layout_arg arg;
	const char *first = NULL;
	int rc = wfs_layout_arg_split(args->model, &arg, err);

	if (rc)
		return rc;
	if (arg.has_spec) {
		arg.has_spec = false;
		first = strrchr(args->model, '@');
	}
	rc = wfs_layout_open(&arg, &args->settings, &check->open, err);
	if (!rc)
		rc = add_all(check, args, first, err);
	if (!rc && args->json)
		print_json(check, arg.path);
	else if (!rc)
		print_people(check);
	wfs_layout_arg_clear(&arg);
	return rc;
}

int wfs_cmd_plan_check(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct args args = { .settings = WFS_LAYOUT_SETTINGS_INIT };
	struct check check = { 0 };
	struct wfs_err err = { 0 };
	bool asked, good = false;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	if (run(&args, &check, &err)) {
		wfs_complain("%s", err.text);
	} else {
		asked = args.count || check.count == 1;
		good = asked ? !check.refused : check.refused < check.count;
	}
	clear(&check);
	free(args.specs);
	return good ? WFS_EXIT_OK : WFS_EXIT_FAILURE;
}
