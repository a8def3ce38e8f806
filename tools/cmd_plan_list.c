/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs plan list`: the plans in the order in which they are tried.
 */
#include <stdio.h>

#include "core/base/text.h"
#include "core/plan/plans.h"
#include "tools/cmd_plan.h"
#include "tools/grid.h"

enum { KEY_PLANS = 0x100 };

struct args {
	const char *dir;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case KEY_PLANS:
		args->dir = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print a JSON array", 0 },
	{ "plans", KEY_PLANS, "DIR", 0,
	  "Also the plans in DIR, before those that are built in", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	NULL,
	"Lists the plans by which checkpoints are cut for an engine's ranks, "
	"in the order in which they are tried.\v"
	"weightfs-plan(5) tells how they are written.",
	NULL,
	NULL,
	NULL,
};

static void print_grid(const struct wfs_plans *plans)
{
	static const char *const heads[] = { "PLAN", "ENGINE", "ARCHITECTURES",
					     "QUANTISATION", "FILE" };
	struct wfs_grid grid = { .columns = "lllll" };

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	for (size_t i = 0; i < plans->count; i++) {
		const struct wfs_plan *p = plans->plans[i];

		wfs_grid_add(&grid, "%s", wfs_plan_name(p));
		wfs_grid_add(&grid, "%s", wfs_plan_engine(p));
		wfs_grid_add(&grid, "%s", wfs_plan_architectures(p));
		wfs_grid_add(&grid, "%s", wfs_plan_quantisations(p));
		wfs_grid_add(&grid, "%s", wfs_plan_file(p));
	}
	wfs_grid_finish(&grid, "", stdout);
}

static void add_field(struct wfs_text *t, const char *before, const char *key,
		      const char *value)
{
	wfs_text_add(t, "%s\"%s\": ", before, key);
	wfs_text_add_json(t, value);
}

static void print_json(const struct wfs_plans *plans)
{
	struct wfs_text t = { 0 };

	for (size_t i = 0; i < plans->count; i++) {
		const struct wfs_plan *p = plans->plans[i];

		add_field(&t, i ? ",\n {" : "{", "name", wfs_plan_name(p));
		add_field(&t, ", ", "engine", wfs_plan_engine(p));
		add_field(&t, ", ", "architectures", wfs_plan_architectures(p));
		add_field(&t, ", ", "quantisations", wfs_plan_quantisations(p));
		add_field(&t, ", ", "file", wfs_plan_file(p));
		wfs_text_add(&t, "}");
	}
	printf("[%s]\n", t.data ? t.data : "");
	free(t.data);
}

int wfs_cmd_plan_list(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct wfs_plans plans;
	struct wfs_err err = { 0 };
	struct args args = { 0 };

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	if (wfs_plans_load(args.dir, &plans, &err)) {
		wfs_complain("%s", err.text);
		return WFS_EXIT_FAILURE;
	}
	if (args.json)
		print_json(&plans);
	else
		print_grid(&plans);
	wfs_plans_clear(&plans);
	return WFS_EXIT_OK;
}
