/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs status`: what the daemons of the mounts say of themselves.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/ask.h"
#include "tools/cmd.h"
#include "core/base/mounts.h"
#include "tools/path.h"
#include "tools/grid.h"

typedef unsigned long long ull;

struct args {
	const char *mountpoint;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->mountpoint, NULL);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"[MOUNTPOINT]",
	"Shows what is mounted (all of it, or MOUNTPOINT): models, memory, "
	"how opens and reads are served, errors.\v"
	"Exits with 1 when a daemon is dead or does not answer.",
	NULL,
	NULL,
	NULL,
};

/* "2 h 3 min", "14 s" */
static char *uptime(double seconds, char *buf, size_t size)
{
	ull s = (ull)seconds;

	if (s >= 86400)
		snprintf(buf, size, "%llu d %llu h", s / 86400,
			 s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(buf, size, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(buf, size, "%llu min %llu s", s / 60, s % 60);
	else
		snprintf(buf, size, "%llu s", s);
	return buf;
}

static void print_arena(yyjson_val *arena)
{
	char used[32], all[32];

	if (!wfs_json_true(arena, "in_use")) {
		printf("  arena        none: %s\n",
		       wfs_json_text(arena, "why"));
		return;
	}
	printf("  arena        %s of %s used, %llu files in it, %llu of them "
	       "in use%s\n",
	       wfs_size_format(wfs_json_number(arena, "used"), used,
			       sizeof(used)),
	       wfs_size_format(wfs_json_number(arena, "bytes"), all,
			       sizeof(all)),
	       (ull)wfs_json_number(arena, "resident_files"),
	       (ull)wfs_json_number(arena, "pinned_files"),
	       wfs_json_true(arena, "huge") ? "" : ", no huge pages");
}

static void print_served(yyjson_val *root)
{
	yyjson_val *pass = yyjson_obj_get(root, "passthrough");
	yyjson_val *opens = yyjson_obj_get(root, "opens");
	yyjson_val *reads = yyjson_obj_get(root, "reads");
	char bytes[32];

	if (wfs_json_true(pass, "in_use"))
		printf("  passthrough  in use\n");
	else
		printf("  passthrough  not in use: %s\n",
		       wfs_json_text(pass, "why"));
	print_arena(yyjson_obj_get(root, "arena"));
	printf("  opens        %llu passthrough, %llu cached; %llu waited, "
	       "%llu refused; %llu files open now\n",
	       (ull)wfs_json_number(opens, "passthrough"),
	       (ull)wfs_json_number(opens, "cached"),
	       (ull)wfs_json_number(opens, "waited"),
	       (ull)wfs_json_number(opens, "refused"),
	       (ull)wfs_json_number(root, "open_files"));
	printf("  reads        %llu answered by the daemon (%s), %llu errors\n",
	       (ull)wfs_json_number(reads, "count"),
	       wfs_size_format(wfs_json_number(reads, "bytes"), bytes,
			       sizeof(bytes)),
	       (ull)wfs_json_number(reads, "errors"));
}

static void print_hydration(yyjson_val *root)
{
	yyjson_val *h = yyjson_obj_get(root, "hydration");
	yyjson_val *errors = yyjson_obj_get(root, "errors");
	char in[32], out[32];

	printf("  hydration    %llu files (%s) in, %llu (%s) evicted, %llu "
	       "without room, %llu failed\n",
	       (ull)wfs_json_number(h, "files"),
	       wfs_size_format(wfs_json_number(h, "bytes"), in, sizeof(in)),
	       (ull)wfs_json_number(h, "evicted_files"),
	       wfs_size_format(wfs_json_number(h, "evicted_bytes"), out,
			       sizeof(out)),
	       (ull)wfs_json_number(h, "no_room"),
	       (ull)wfs_json_number(h, "failed"));
	printf("  errors       %llu reads of sources failed, %llu models "
	       "rewritten in place\n",
	       (ull)wfs_json_number(errors, "source"),
	       (ull)wfs_json_number(errors, "stale"));
}

static void print_models(yyjson_val *models)
{
	static const char *const heads[] = {
		"MODEL", "FORMAT",   "RANKS", "TENSORS", "FILES",
		"BYTES", "RESIDENT", "OPEN",  "TRUST",	 "STATE",
	};
	struct wfs_grid grid = { .columns = "llrrrrrrll" };
	yyjson_arr_iter iter;
	yyjson_val *m;

	if (!yyjson_arr_size(models)) {
		printf("\n  no models\n");
		return;
	}
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	yyjson_arr_iter_init(models, &iter);
	while ((m = yyjson_arr_iter_next(&iter))) {
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "name"));
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "format"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "ranks"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "tensors"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "files"));
		wfs_grid_add_size(&grid, wfs_json_number(m, "file_bytes"));
		wfs_grid_add_size(&grid, wfs_json_number(m, "resident_bytes"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(m, "opens"));
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "trust"));
		wfs_grid_add(&grid, "%s", wfs_json_text(m, "state"));
	}
	printf("\n");
	wfs_grid_finish(&grid, "  ", stdout);
}

static void print_seeds(yyjson_val *seeds)
{
	static const char *const heads[] = {
		"SEED", "STATE", "RATE/S", "BYTES", "ERRORS", "WRONG", "WHY",
	};
	struct wfs_grid grid = { .columns = "llrrrrl" };
	yyjson_arr_iter iter;
	yyjson_val *s;

	if (!yyjson_arr_size(seeds))
		return;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	yyjson_arr_iter_init(seeds, &iter);
	while ((s = yyjson_arr_iter_next(&iter))) {
		wfs_grid_add(&grid, "%s", wfs_json_text(s, "url"));
		wfs_grid_add(&grid, "%s", wfs_json_text(s, "state"));
		wfs_grid_add_size(&grid, wfs_json_number(s, "bytes_per_s"));
		wfs_grid_add_size(&grid, wfs_json_number(s, "bytes"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(s, "errors"));
		wfs_grid_add(&grid, "%llu", (ull)wfs_json_number(s, "wrong"));
		wfs_grid_add(&grid, "%s", wfs_json_text(s, "why"));
	}
	printf("\n");
	wfs_grid_finish(&grid, "  ", stdout);
}

static void print_status(yyjson_val *root)
{
	char up[48];

	printf("%s: weightfs %s, pid %llu, up %s\n",
	       wfs_json_text(root, "mountpoint"),
	       wfs_json_text(root, "version"),
	       (ull)wfs_json_number(root, "pid"),
	       uptime(wfs_json_real(root, "uptime_s"), up, sizeof(up)));
	print_served(root);
	print_hydration(root);
	print_models(yyjson_obj_get(root, "models"));
	print_seeds(yyjson_obj_get(root, "seeds"));
}

/* One mount in the list of `--json`; 0 or a negative errno. */
static int add_json(const char *point, bool first)
{
	struct wfs_text t = { 0 };
	struct wfs_err err = { 0 };
	char *text wfs_autofree = NULL;
	int rc = wfs_ask_status(point, &text, &err);

	if (!rc) {
		while (text[0] && text[strlen(text) - 1] == '\n')
			text[strlen(text) - 1] = '\0';
		printf("%s%s", first ? "" : ",\n", text);
		return 0;
	}
	wfs_text_add(&t, "{\"mountpoint\": ");
	wfs_text_add_json(&t, point);
	wfs_text_add(&t, ", \"error\": ");
	wfs_text_add_json(&t, err.text);
	wfs_text_add(&t, "}");
	printf("%s%s", first ? "" : ",\n", t.data);
	free(t.data);
	return rc;
}

static int show(const char *point, bool json, bool first)
{
	struct wfs_err err = { 0 };
	yyjson_doc *doc;
	int rc;

	if (json)
		return add_json(point, first);
	rc = wfs_ask_status_json(point, &doc, &err);
	if (rc) {
		fflush(stdout);
		wfs_complain("%s", err.text);
		return rc;
	}
	if (!first)
		printf("\n");
	print_status(yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return 0;
}

/* The mounts asked for, topmost of each point; the number of failures. */
static int show_all(const struct wfs_mounts *mounts, const char *only,
		    bool json)
{
	bool first = true;
	int failures = 0;

	if (json)
		printf("{\"mounts\": [\n");
	for (size_t i = 0; i < mounts->count; i++) {
		const struct wfs_mount *m = &mounts->rows[i];

		if (!wfs_mount_is_weightfs(m) ||
		    (only && strcmp(m->point, only) != 0) ||
		    wfs_mounts_at(mounts, m->point) != m)
			continue;
		failures += show(m->point, json, first) != 0;
		first = false;
	}
	if (json)
		printf("]}\n");
	else if (first)
		printf("no weightfs is mounted\n");
	return failures;
}

int wfs_cmd_status(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct args args = { 0 };
	struct wfs_mounts mounts;
	struct wfs_err err = { 0 };
	const struct wfs_mount *mount;
	char *point wfs_autofree = NULL;
	int status = WFS_EXIT_FAILURE;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &args);
	if (wfs_mounts_read(&mounts, &err)) {
		wfs_complain("%s", err.text);
		return status;
	}
	if (args.mountpoint)
		point = wfs_path_mountpoint(args.mountpoint);
	mount = point ? wfs_mounts_at(&mounts, point) : NULL;
	if (point && (!mount || !wfs_mount_is_weightfs(mount)))
		wfs_complain("no weightfs is mounted on '%s'", point);
	else if (show_all(&mounts, point, args.json) == 0)
		status = WFS_EXIT_OK;
	wfs_mounts_clear(&mounts);
	return status;
}
