/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs inspect`: what is in a checkpoint, without mounting it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "core/model/model.h"
#include "tools/cmd.h"
#include "tools/inspect.h"
#include "tools/one_file.h"
#include "tools/path.h"
#include "transport/file/catalog.h"
#include "transport/file/file_source.h"

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
		if (args->path)
			argp_error(state, "there is an argument too many: '%s'",
				   arg);
		args->path = arg;
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

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

/* The checkpoint of a repository in a hub cache: the one without '@'. */
static int find_in_repo(const char *repo, bool follow_links, char **ret_dir,
			struct wfs_err *err)
{
	char *parent wfs_autofree = wfs_strdup(repo);
	struct wfs_catalog catalog;
	char *found = NULL;
	int rc;

	*strrchr(parent, '/') = '\0';
	rc = wfs_catalog_scan(*parent ? parent : "/", follow_links, &catalog,
			      err);
	if (rc)
		return rc;
	for (size_t i = 0; i < catalog.count && !found; i++)
		if (is_below(catalog.entries[i].path, repo) &&
		    !strchr(catalog.entries[i].name, '@'))
			found = wfs_strdup(catalog.entries[i].path);
	wfs_catalog_clear(&catalog);
	if (!found)
		return wfs_err_set(err, -ENOENT,
				   "no checkpoint in '%s': name one of its "
				   "snapshots",
				   repo);
	*ret_dir = found;
	return 0;
}

static int open_source(const char *path, bool follow_links,
		       struct wfs_source **ret_source, struct wfs_err *err)
{
	struct wfs_file_source_config config = { .follow_links = follow_links };
	const char *base = strrchr(path, '/') + 1;
	char *dir wfs_autofree = NULL;
	struct stat st;
	int rc;

	if (stat(path, &st))
		return wfs_err_set(err, -errno, "cannot open '%s': %s", path,
				   strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return wfs_one_file_open(path, ret_source, err);
	if (!strncmp(base, "models--", 8)) {
		rc = find_in_repo(path, follow_links, &dir, err);
		if (rc)
			return rc;
	}
	return wfs_file_source_open(dir ? dir : path, &config, ret_source, err);
}

static int load(const struct args *args, const char *path,
		struct wfs_model **ret_model, struct wfs_err *err)
{
	const char *name = strrchr(path, '/') + 1;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct wfs_source *source = NULL;
	int rc = open_source(path, args->follow_links, &source, err);

	if (rc)
		return rc;
	/* Only the log shows it: a path may end in what is no name. */
	if (wfs_model_name_check(name, NULL))
		name = "checkpoint";
	rc = wfs_model_load(source, name, cpus > 0 ? (unsigned)cpus : 1,
			    ret_model, err);
	wfs_source_put(source);
	return rc;
}

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
	if (load(&args, path, &model, &err)) {
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
