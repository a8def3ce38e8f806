/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an export finds in its target: what is finished, what is in the way,
 * whether the rest has room.  Nothing is written before all of it is known.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#include "core/base/text.h"
#include "core/model/sharded_state.h"
#include "tools/export.h"

static int in_the_way(const struct wfs_export *x, const char *path,
		      struct wfs_err *err)
{
	return wfs_err_set(err, -EEXIST,
			   "'%s/%s' is there already and is something else: "
			   "choose an empty directory, or --force to replace "
			   "it",
			   x->target, path);
}

static int look_at(struct wfs_export *x, struct wfs_export_item *item,
		   struct wfs_err *err)
{
	struct stat st;

	if (fstatat(x->dir_fd, item->path, &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno == ENOENT)
			return 0;
		return wfs_err_set(err, -errno, "cannot look at '%s/%s': %s",
				   x->target, item->path, strerror(errno));
	}
	if (S_ISREG(st.st_mode) && wfs_export_journal_has(x, item, &st))
		item->state = WFS_EXPORT_KEPT;
	else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == item->size)
		item->state = WFS_EXPORT_UNSURE;
	else if (x->force && !S_ISDIR(st.st_mode))
		item->state = WFS_EXPORT_REPLACED;
	else
		return in_the_way(x, item->path, err);
	return 0;
}

static int compare(struct wfs_export *x, struct wfs_export_item *item,
		   struct wfs_err *err)
{
	int fd wfs_autoclose = openat(x->dir_fd, item->path,
				      O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct wfs_recipe *recipe;
	uint64_t same = 0;
	int rc;

	if (fd < 0)
		return wfs_err_set(err, -errno, "cannot open '%s/%s': %s",
				   x->target, item->path, strerror(errno));
	rc = wfs_export_recipe(x, item, &recipe, err);
	if (rc)
		return rc;
	rc = wfs_export_compare(x, item, recipe, fd, item->size, &same, err);
	wfs_recipe_free(recipe);
	if (rc)
		return rc;
	if (same < item->size && !x->force)
		return in_the_way(x, item->path, err);
	item->state = same < item->size ? WFS_EXPORT_REPLACED : WFS_EXPORT_KEPT;
	return 0;
}

static int compare_all(struct wfs_export *x, struct wfs_err *err)
{
	uint64_t bytes = 0;
	int rc = 0;

	for (size_t i = 0; i < x->count; i++)
		if (x->items[i].state == WFS_EXPORT_UNSURE)
			bytes += x->items[i].size;
	wfs_progress_begin(&x->progress, stdout, "comparing", bytes);
	for (size_t i = 0; i < x->count && !rc; i++)
		if (x->items[i].state == WFS_EXPORT_UNSURE)
			rc = compare(x, &x->items[i], err);
	wfs_progress_end(&x->progress);
	return rc;
}

static bool is_ours(const struct wfs_export *x, const char *name)
{
	for (size_t i = 0; i < x->count; i++)
		if (!strcmp(x->items[i].path, name))
			return true;
	return false;
}

/*
 * Parts of another layout would be read by an engine as if they belonged to
 * this one.
 */
static int look_for_strays(struct wfs_export *x, struct wfs_err *err)
{
	int fd = openat(x->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct wfs_sharded_name ignored;
	const struct dirent *d;
	int rc = 0;

	if (!dir) {
		rc = wfs_err_set(err, -errno, "cannot list '%s': %s", x->target,
				 strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (d = readdir(dir))) {
		if (wfs_sharded_parse(d->d_name, &ignored) ||
		    is_ours(x, d->d_name))
			continue;
		if (!x->force)
			rc = wfs_err_set(err, -EEXIST,
					 "'%s/%s' is of another layout than "
					 "'%s': choose an empty directory, or "
					 "--force to remove it",
					 x->target, d->d_name, x->layout->name);
		else if (unlinkat(x->dir_fd, d->d_name, 0))
			rc = wfs_err_set(err, -errno,
					 "cannot remove '%s/%s': %s", x->target,
					 d->d_name, strerror(errno));
	}
	closedir(dir);
	return rc;
}

static uint64_t part_bytes(const struct wfs_export *x,
			   const struct wfs_export_item *item)
{
	char name[WFS_EXPORT_PART_NAME];
	struct stat st;
	uint64_t bytes;

	wfs_export_part_name(item, name);
	if (fstatat(x->work_fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	bytes = (uint64_t)st.st_blocks * 512;
	return bytes < item->size ? bytes : item->size;
}

static int check_room(const struct wfs_export *x, struct wfs_err *err)
{
	char missing[32], room[32];
	uint64_t need = 0, have;
	struct statvfs fs;

	for (size_t i = 0; i < x->count; i++)
		if (x->items[i].state != WFS_EXPORT_KEPT)
			need += x->items[i].size - part_bytes(x, &x->items[i]);
	/* Some file systems do not say how large they are. */
	if (fstatvfs(x->dir_fd, &fs) || !fs.f_blocks)
		return 0;
	have = (geteuid() ? fs.f_bavail : fs.f_bfree) * fs.f_frsize;
	if (need <= have)
		return 0;
	return wfs_err_set(err, -ENOSPC,
			   "'%s' has no room for '%s': %s are to be written, "
			   "%s are free",
			   x->target, x->layout->name,
			   wfs_size_format(need, missing, sizeof(missing)),
			   wfs_size_format(have, room, sizeof(room)));
}

int wfs_export_survey(struct wfs_export *x, struct wfs_err *err)
{
	int rc = 0;

	for (size_t i = 0; i < x->count && !rc; i++)
		rc = look_at(x, &x->items[i], err);
	if (!rc)
		rc = compare_all(x, err);
	if (!rc)
		rc = look_for_strays(x, err);
	if (rc)
		return rc;
	/* First, since its parts are what may be in the way of the room. */
	wfs_export_work_tidy(x);
	return check_room(x, err);
}
