/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs du`: how much of what is mounted is in memory.  Whole models are
 * answered by the daemon, anything below by attributes; no file is opened, so
 * asking brings nothing into memory.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "core/base/text.h"
#include "tools/ask.h"
#include "tools/cmd.h"
#include "core/base/mounts.h"
#include "tools/path.h"
#include "tools/grid.h"

#define ATTRIBUTE   "user.weightfs.resident_bytes"
#define WALK_FD_MAX 32

typedef unsigned long long ull;

struct amount {
	uint64_t resident, bytes;
};

struct row {
	char *path;
	struct amount amount;
};

struct du {
	const char **paths;
	size_t path_count;
	bool json;
	struct row *rows;
	size_t count;
	struct amount total;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct du *du = state->input;

	switch (key) {
	case 'j':
		du->json = true;
		return 0;
	case ARGP_KEY_ARG:
		du->paths = wfs_realloc(du->paths,
					(du->path_count + 1) * sizeof(char *));
		du->paths[du->path_count++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object, sizes in bytes", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"[PATH...]",
	"Shows how many bytes of each model are in memory, and of how many.\v"
	"PATH is a mount point (default: all of them), a model, a directory "
	"in it or a file. Of a model are counted its tensors.",
	NULL,
	NULL,
	NULL,
};

static void add(struct du *du, const char *path, struct amount amount)
{
	du->rows = wfs_realloc(du->rows, (du->count + 1) * sizeof(*du->rows));
	du->rows[du->count++] = (struct row){
		.path = wfs_strdup(path),
		.amount = amount,
	};
	du->total.resident += amount.resident;
	du->total.bytes += amount.bytes;
}

/* nftw() has no argument for its caller. */
static __thread struct amount walked;

static int walk(const char *path, const struct stat *st, int type,
		struct FTW *ftw)
{
	char value[32];
	ssize_t n;

	(void)ftw;
	if (type != FTW_F)
		return 0;
	walked.bytes += (uint64_t)st->st_size;
	n = lgetxattr(path, ATTRIBUTE, value, sizeof(value) - 1);
	if (n > 0) {
		value[n] = '\0';
		walked.resident += strtoull(value, NULL, 10);
	}
	return 0;
}

static int add_walk(struct du *du, const char *path, struct wfs_err *err)
{
	walked = (struct amount){ 0 };
	if (nftw(path, walk, WALK_FD_MAX, FTW_PHYS))
		return wfs_err_set(err, -errno, "cannot look through '%s': %s",
				   path, strerror(errno));
	add(du, path, walked);
	return 0;
}

/* The models of a mount; only the one called `name` unless NULL. */
static int add_models(struct du *du, const char *point, const char *name,
		      struct wfs_err *err)
{
	yyjson_doc *doc;
	yyjson_val *m;
	yyjson_arr_iter iter;
	int rc = wfs_ask_status_json(point, &doc, err);

	if (rc)
		return rc;
	yyjson_arr_iter_init(yyjson_obj_get(yyjson_doc_get_root(doc), "models"),
			     &iter);
	while ((m = yyjson_arr_iter_next(&iter))) {
		const char *model = wfs_json_text(m, "name");
		char *path wfs_autofree = wfs_asprintf("%s/%s", point, model);
		struct amount amount = {
			.resident = wfs_json_number(m, "resident_bytes"),
			.bytes = wfs_json_number(m, "tensor_bytes"),
		};

		/* An old version has no name any more. */
		if (strcmp(wfs_json_text(m, "state"), "old") == 0 ||
		    (name && strcmp(name, model) != 0))
			continue;
		if (!amount.bytes)
			amount.bytes = wfs_json_number(m, "file_bytes");
		add(du, path, amount);
	}
	yyjson_doc_free(doc);
	return 0;
}

static int add_path(struct du *du, const struct wfs_mounts *mounts,
		    const char *arg, struct wfs_err *err)
{
	char *path wfs_autofree = wfs_path_mountpoint(arg);
	const struct wfs_mount *mount = wfs_mounts_of(mounts, path);
	const char *rest;

	if (!mount || !wfs_mount_is_weightfs(mount))
		return wfs_err_set(err, -EINVAL,
				   "'%s' does not lie in a weightfs mount",
				   path);
	rest = path + strlen(mount->point);
	rest += *rest == '/';
	if (!rest[0])
		return add_models(du, mount->point, NULL, err);
	if (!strchr(rest, '/') && rest[0] != '.') {
		size_t before = du->count;
		int rc = add_models(du, mount->point, rest, err);

		if (rc || du->count > before)
			return rc;
	}
	return add_walk(du, path, err);
}

static void print_table(struct du *du)
{
	struct wfs_grid grid = { .columns = "rrrl" };

	wfs_grid_add(&grid, "RESIDENT");
	wfs_grid_add(&grid, "OF");
	wfs_grid_add(&grid, "%%");
	wfs_grid_add(&grid, "PATH");
	for (size_t i = 0; i <= du->count; i++) {
		struct amount a = i < du->count ? du->rows[i].amount :
						  du->total;

		if (i == du->count && du->count == 1)
			break;
		wfs_grid_add_size(&grid, a.resident);
		wfs_grid_add_size(&grid, a.bytes);
		wfs_grid_add(&grid, "%u",
			     a.bytes ? (unsigned)((double)a.resident * 100.0 /
						  (double)a.bytes) :
				       100);
		wfs_grid_add(&grid, "%s",
			     i < du->count ? du->rows[i].path : "total");
	}
	wfs_grid_finish(&grid, "", stdout);
}

static void print_json(const struct du *du)
{
	struct wfs_text t = { 0 };

	for (size_t i = 0; i < du->count; i++) {
		const struct row *row = &du->rows[i];

		wfs_text_add(&t, "%s\n  {\"path\": ", i ? "," : "");
		wfs_text_add_json(&t, row->path);
		wfs_text_add(&t, ", \"resident_bytes\": %llu, \"bytes\": %llu}",
			     (ull)row->amount.resident, (ull)row->amount.bytes);
	}
	printf("{\"paths\": [%s],\n \"resident_bytes\": %llu, "
	       "\"bytes\": %llu}\n",
	       t.data ? t.data : "", (ull)du->total.resident,
	       (ull)du->total.bytes);
	free(t.data);
}

/* The number of paths that could not be looked at. */
static int measure(struct du *du, const struct wfs_mounts *mounts)
{
	struct wfs_err err = { 0 };
	int failures = 0;

	for (size_t i = 0; i < du->path_count; i++) {
		if (add_path(du, mounts, du->paths[i], &err)) {
			wfs_complain("%s", err.text);
			failures++;
		}
	}
	for (size_t i = 0; !du->path_count && i < mounts->count; i++) {
		const struct wfs_mount *m = &mounts->rows[i];

		if (!wfs_mounts_shows(mounts, m))
			continue;
		if (add_models(du, m->point, NULL, &err)) {
			wfs_complain("%s", err.text);
			failures++;
		}
	}
	return failures;
}

int wfs_cmd_du(int argc, char **argv, const struct wfs_hooks *hooks)
{
	struct du du = { 0 };
	struct wfs_mounts mounts;
	struct wfs_err err = { 0 };
	int failures = 1;

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &du);
	if (wfs_mounts_read(&mounts, &err)) {
		wfs_complain("%s", err.text);
	} else {
		failures = measure(&du, &mounts);
		wfs_mounts_clear(&mounts);
		if (du.json)
			print_json(&du);
		else if (du.count)
			print_table(&du);
	}
	for (size_t i = 0; i < du.count; i++)
		free(du.rows[i].path);
	free(du.rows);
	free(du.paths);
	return failures ? WFS_EXIT_FAILURE : WFS_EXIT_OK;
}
