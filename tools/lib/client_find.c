/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files are meant by a path and a rank.
 *
 * Everything is looked up in one directory that is held open, so a name that
 * moves to another version meanwhile moves nothing here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/index.h"
#include "core/model/names.h"
#include "core/model/sharded_state.h"
#include "tools/lib/client.h"

#define INDEX	 "model.safetensors.index.json"
#define ATTR_MAX 64 /* bytes of an attribute that matters here */

static void names_add(struct weightfs_set *set, struct wfs_weights_names *names,
		      const char *name, uint32_t tag)
{
	size_t len = strlen(name);

	if (names->count == names->cap) {
		names->cap = names->cap ? names->cap * 2 : 64;
		names->rows = wfs_realloc(names->rows,
					  names->cap * sizeof(*names->rows));
	}
	names->rows[names->count++] =
		(struct wfs_key){ wfs_pool_text(&set->pool, name, len),
				  (uint32_t)len, tag };
}

/* The files that the index names; -ENOENT without an index. */
static int names_of_index(struct weightfs_set *set,
			  struct wfs_weights_names *names, struct wfs_err *err)
{
	struct wfs_index index = { 0 };
	char *text wfs_autofree = NULL;
	size_t len = 0;
	int fd wfs_autoclose = openat(set->dir, INDEX, O_RDONLY | O_CLOEXEC);
	int rc = fd < 0 ? -errno : wfs_fd_slurp(fd, WFS_INDEX_MAX, &text, &len);

	if (rc)
		return rc == -ENOENT ? rc :
				       wfs_weights_fail(set, INDEX, rc, err);
	text = wfs_realloc(text, len + WFS_JSON_PADDING);
	rc = wfs_index_parse(text, len, INDEX, &index, err);
	for (uint32_t i = 0; !rc && i < index.file_count; i++) {
		if (wfs_name_is_path(index.files[i]))
			names_add(set, names, index.files[i], 0);
		else
			rc = wfs_err_set(err, -EBADMSG,
					 "'%s' in '%s' names '%s', which is no "
					 "file of it",
					 INDEX, set->path, index.files[i]);
	}
	wfs_index_clear(&index);
	return rc;
}

/* Is it a file of this rank, as sharded_state names them?  Its part. */
static bool of_rank(const char *name, const char *rank, uint32_t *ret_part)
{
	struct wfs_sharded_name parsed = { 0 };
	char of[64];

	if (wfs_sharded_parse(name, &parsed) != 0)
		return false;
	wfs_sharded_rank_name(&parsed, of, sizeof(of));
	*ret_part = parsed.part;
	return strcmp(of, rank) == 0;
}

static int compare_tags(const void *a, const void *b)
{
	uint32_t x = ((const struct wfs_key *)a)->tag;
	uint32_t y = ((const struct wfs_key *)b)->tag;

	return x < y ? -1 : x > y;
}

/*
 * Files of the directory: of `rank`, by part; without one all safetensors
 * files by name or, if it has none, all other files, as listed.
 */
static int names_of_dir(struct weightfs_set *set, const char *rank,
			struct wfs_weights_names *names, struct wfs_err *err)
{
	struct wfs_weights_names others = { 0 };
	int fd = openat(set->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	uint32_t part = 0;

	if (!dir) {
		int rc = -errno;

		wfs_closep(&fd);
		return wfs_weights_fail(set, ".", rc, err);
	}
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (rank && of_rank(name, rank, &part))
			names_add(set, names, name, part);
		else if (!rank && wfs_ends_with(name, WFS_WEIGHTS_SUFFIX))
			names_add(set, names, name, 0);
		else if (!rank && entry->d_type == DT_REG)
			names_add(set, &others, name, 0);
	}
	closedir(dir);
	if (rank && names->count) {
		qsort(names->rows, names->count, sizeof(*names->rows),
		      compare_tags);
	} else if (names->count) {
		wfs_keys_sort(names->rows, names->count);
	} else {
		free(names->rows);
		*names = others;
		others.rows = NULL;
	}
	free(others.rows);
	return 0;
}

/* Goes into a directory below the set's. */
static int enter(struct weightfs_set *set, const char *name)
{
	int fd = openat(set->dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(set->dir);
	set->dir = fd;
	return 0;
}

/* Has the model one rank, which its own files are? */
static bool is_whole_model(const struct weightfs_set *set, const char *rank)
{
	char ranks[ATTR_MAX], format[ATTR_MAX];

	return !strcmp(rank, "0") &&
	       wfs_weights_attribute(set->dir, ".", "user.weightfs.ranks",
				     ranks, sizeof(ranks)) > 0 &&
	       wfs_weights_attribute(set->dir, ".", "user.weightfs.format",
				     format, sizeof(format)) > 0 &&
	       !strcmp(ranks, "1") && !strcmp(format, "hf");
}

/* Goes to where a rank's tensor files are. */
static int enter_rank(struct weightfs_set *set, const char *rank,
		      struct wfs_err *err)
{
	char *hidden wfs_autofree = wfs_asprintf(".ranks/%s", rank);
	int rc = enter(set, hidden);

	if (rc == -ENOENT || rc == -ENOTDIR)
		rc = enter(set, rank);
	if (rc)
		return wfs_err_set(err, rc, "'%s' has no rank '%s': %s",
				   set->path, rank, strerror(-rc));
	return 0;
}

static int choose(struct weightfs_set *set, const char *rank,
		  struct wfs_weights_names *names, struct wfs_err *err)
{
	int rc;

	if (rank) {
		rc = names_of_dir(set, rank, names, err);
		if (rc || names->count)
			return rc;
		if (!is_whole_model(set, rank)) {
			rc = enter_rank(set, rank, err);
			return rc ? rc : names_of_dir(set, NULL, names, err);
		}
	}
	rc = names_of_index(set, names, err);
	return rc == -ENOENT ? names_of_dir(set, NULL, names, err) : rc;
}

/* `path` is a file: its directory, and only that name. */
static int look_at_file(struct weightfs_set *set,
			struct wfs_weights_names *names)
{
	const char *slash = strrchr(set->path, '/');
	char *dir wfs_autofree = slash ? wfs_asprintf("%.*s/",
						      (int)(slash - set->path),
						      set->path) :
					 wfs_strdup(".");

	set->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (set->dir < 0)
		return -errno;
	names_add(set, names, slash ? slash + 1 : set->path, 0);
	return 0;
}

int wfs_weights_find(struct weightfs_set *set, const char *rank,
		     struct wfs_err *err)
{
	struct wfs_weights_names names = { 0 };
	int rc = 0;

	if (rank && (!*rank || strchr(rank, '/') || *rank == '.'))
		return wfs_err_set(err, -EINVAL, "'%s' is no rank", rank);
	set->dir = open(set->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (set->dir >= 0)
		rc = choose(set, rank, &names, err);
	else if (errno != ENOTDIR)
		rc = wfs_err_set(err, -errno, "cannot open '%s': %s", set->path,
				 strerror(errno));
	else if (rank)
		rc = wfs_err_set(err, -EINVAL,
				 "'%s' is a file: it has no ranks", set->path);
	else if ((rc = look_at_file(set, &names)) != 0)
		wfs_err_set(err, rc, "cannot open '%s': %s", set->path,
			    strerror(-rc));
	if (!rc && !names.count)
		rc = wfs_err_set(err, -EINVAL,
				 "'%s' holds no tensor files and no "
				 "safetensors files",
				 set->path);
	if (!rc)
		rc = wfs_weights_look(set, &names, err);
	free(names.rows);
	return rc;
}
