/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a path as users have it to a model: a directory, a repository of a hub
 * cache, or a single file.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "tools/one_file.h"
#include "tools/open_model.h"
#include "transport/file/catalog.h"
#include "transport/file/file_source.h"

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

int wfs_open_model(const char *path, bool follow_links,
		   struct wfs_model **ret_model, struct wfs_err *err)
{
	const char *name = strrchr(path, '/') + 1;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct wfs_source *source = NULL;
	int rc = open_source(path, follow_links, &source, err);

	if (rc)
		return rc;
	/* Only messages show it: a path may end in what is no name. */
	if (wfs_model_name_check(name, NULL))
		name = "checkpoint";
	rc = wfs_model_load(source, name, cpus > 0 ? (unsigned)cpus : 1,
			    ret_model, err);
	wfs_source_put(source);
	return rc;
}
