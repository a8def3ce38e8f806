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
#include "tools/options.h"
#include "tools/path.h"
#include "tools/status_show.h"
#include "tools/status_watch.h"

#define NS_PER_S  1000000000ull
#define WATCH_NS  NS_PER_S
#define WATCH_MIN (NS_PER_S / 10)

struct args {
	const char *mountpoint;
	bool json;
	uint64_t watch_ns; /* between two looks; 0: one look */
};

static void set_watch(struct args *args, const char *seconds,
		      struct argp_state *state)
{
	args->watch_ns = WATCH_NS;
	if (seconds && (wfs_seconds_parse(seconds, &args->watch_ns) ||
			args->watch_ns < WATCH_MIN))
		argp_error(state,
			   "--watch: '%s' is not a number of seconds from 0.1 "
			   "on, such as 2 or 0.5",
			   seconds);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'j':
		args->json = true;
		return 0;
	case 'w':
		set_watch(args, arg, state);
		return 0;
	case ARGP_KEY_END:
		if (args->json && args->watch_ns)
			argp_error(state, "--json and --watch do not go "
					  "together");
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
	{ "watch", 'w', "SECONDS", OPTION_ARG_OPTIONAL,
	  "Look again every SECONDS (1), until ^C: a table on a terminal, else "
	  "a block whenever something changed",
	  0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"[MOUNTPOINT]",
	"Shows what is mounted (all of it, or MOUNTPOINT): models, memory, "
	"how opens and reads are served, what is copied and queued, seeds, "
	"errors.\v"
	"Exits with 1 when a daemon is dead or does not answer, and when a "
	"mount that is watched goes away.",
	NULL,
	NULL,
	NULL,
};

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
	wfs_status_head(stdout, yyjson_doc_get_root(doc));
	wfs_status_body(stdout, yyjson_doc_get_root(doc), NULL);
	yyjson_doc_free(doc);
	return 0;
}

static bool is_meant(const struct wfs_mounts *mounts, const struct wfs_mount *m,
		     const char *only)
{
	return (!only || strcmp(m->point, only) == 0) &&
	       wfs_mounts_shows(mounts, m);
}

/* Until it cannot go on: why. */
static const char *watch(const struct wfs_mounts *mounts, const char *only,
			 uint64_t every_ns, struct wfs_err *err)
{
	const char **points wfs_autofree =
		wfs_calloc(mounts->count + 1, sizeof(*points));
	size_t count = 0;

	for (size_t i = 0; i < mounts->count; i++)
		if (is_meant(mounts, &mounts->rows[i], only))
			points[count++] = mounts->rows[i].point;
	if (!count)
		return "no weightfs is mounted";
	wfs_status_watch(points, count, every_ns, err);
	return err->text;
}

/* The number of failures. */
static int show_all(const struct wfs_mounts *mounts, const char *only,
		    bool json)
{
	bool first = true;
	int failures = 0;

	if (json)
		printf("{\"mounts\": [\n");
	for (size_t i = 0; i < mounts->count; i++) {
		const struct wfs_mount *m = &mounts->rows[i];

		if (!is_meant(mounts, m, only))
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
	else if (args.watch_ns)
		wfs_complain("%s", watch(&mounts, point, args.watch_ns, &err));
	else if (show_all(&mounts, point, args.json) == 0)
		status = WFS_EXIT_OK;
	wfs_mounts_clear(&mounts);
	return status;
}
