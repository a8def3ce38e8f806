/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs doctor`: every condition that the fast path needs, one line each,
 * and what to do about those that are not met.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tools/cmd.h"
#include "tools/doctor.h"
#include "tools/path.h"
#include "tools/grid.h"

struct args {
	const char *model;
	uint64_t arena_size;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case 'a':
		if (wfs_size_parse(arg, &args->arena_size))
			argp_error(state, "'%s' is not a size, such as 512M",
				   arg);
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->model, NULL);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "arena-size", 'a', "SIZE", 0,
	  "As the mount will be told (default: a quarter of memory)", 0 },
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"[MODEL]",
	"Tells what this machine has of what the fast path needs, and what to "
	"do about the rest.\v"
	"With MODEL, the directory of a checkpoint, also whether that can be "
	"read and fits. Each line says ok, slow (works at less speed) or "
	"broken. Exits with 1 if something is broken.",
	NULL,
	NULL,
	NULL,
};

static const char *const levels[] = { "ok", "slow", "broken" };

static enum wfs_level worst(const struct wfs_findings *found)
{
	enum wfs_level level = WFS_LEVEL_OK;

	for (size_t i = 0; i < found->count; i++) {
		if (found->rows[i].level > level)
			level = found->rows[i].level;
	}
	return level;
}

static void print_table(const struct wfs_findings *found)
{
	struct wfs_grid grid = { .columns = "lll" };

	for (size_t i = 0; i < found->count; i++) {
		const struct wfs_finding *row = &found->rows[i];

		wfs_grid_add(&grid, "%s", levels[row->level]);
		wfs_grid_add(&grid, "%s", row->name);
		wfs_grid_add(&grid, "%s%s%s", row->text,
			     row->remedy[0] ? "; " : "", row->remedy);
	}
	wfs_grid_finish(&grid, "", stdout);
}

static void print_json(const struct wfs_findings *found)
{
	struct wfs_text t = { 0 };

	wfs_text_add(&t, "{\"level\": \"%s\", \"conditions\": [",
		     levels[worst(found)]);
	for (size_t i = 0; i < found->count; i++) {
		const struct wfs_finding *row = &found->rows[i];

		wfs_text_add(&t, "%s\n  {\"name\": ", i ? "," : "");
		wfs_text_add_json(&t, row->name);
		wfs_text_add(&t, ", \"level\": \"%s\", \"text\": ",
			     levels[row->level]);
		wfs_text_add_json(&t, row->text);
		wfs_text_add(&t, ", \"remedy\": ");
		wfs_text_add_json(&t, row->remedy);
		wfs_text_add(&t, "}");
	}
	printf("%s\n]}\n", t.data);
	free(t.data);
}

int wfs_cmd_doctor(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct wfs_findings found = { 0 };
	struct args args = { 0 };
	char *model wfs_autofree = NULL;
	enum wfs_level level;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	/* What is found out is said below, once. */
	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_ERROR);
	wfs_doctor_fuse(&found);
	wfs_doctor_memory(&found, args.arena_size);
	wfs_doctor_limits(&found);
	wfs_doctor_rdma(&found);
	wfs_doctor_cuda(&found);
	if (args.model) {
		model = wfs_path_absolute(args.model);
		wfs_doctor_model(&found, model);
	}
	if (args.json)
		print_json(&found);
	else
		print_table(&found);
	level = worst(&found);
	wfs_findings_clear(&found);
	return level == WFS_LEVEL_BROKEN ? WFS_EXIT_FAILURE : WFS_EXIT_OK;
}
