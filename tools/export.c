/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An export from its first look at the target to the last file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "core/base/text.h"
#include "tools/export.h"
#include "tools/path.h"

/* Files added to a checkpoint would make it another one. */
static int check_target(const struct wfs_export *x, struct wfs_err *err)
{
	char *base wfs_autofree = wfs_path_mountpoint(x->base_path);
	char *target wfs_autofree = wfs_path_mountpoint(x->target);
	size_t len = strlen(base);

	if (strncmp(target, base, len) || (target[len] && target[len] != '/'))
		return 0;
	return wfs_err_set(err, -EINVAL,
			   "'%s' lies in the checkpoint '%s': choose a "
			   "directory outside",
			   x->target, x->base_path);
}

static int open_target(struct wfs_export *x, struct wfs_err *err)
{
	if (mkdir(x->target, 0777) && errno != EEXIST)
		return wfs_err_set(err, -errno, "cannot make '%s': %s",
				   x->target, strerror(errno));
	x->dir_fd = open(x->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->dir_fd < 0)
		return wfs_err_set(err, -errno, "cannot open '%s': %s",
				   x->target, strerror(errno));
	/* Where there are no locks, that is not known. */
	if (flock(x->dir_fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return wfs_err_set(err, -EBUSY,
				   "another export is writing to '%s'",
				   x->target);
	return 0;
}

static int make_dirs(const struct wfs_export *x, struct wfs_err *err)
{
	for (size_t i = 0; i < x->dir_count; i++) {
		struct stat st;

		if (!mkdirat(x->dir_fd, x->dirs[i], 0777))
			continue;
		if (errno == EEXIST &&
		    !fstatat(x->dir_fd, x->dirs[i], &st, AT_SYMLINK_NOFOLLOW)) {
			if (S_ISDIR(st.st_mode))
				continue;
			errno = ENOTDIR;
		}
		return wfs_err_set(err, -errno, "cannot make '%s/%s': %s",
				   x->target, x->dirs[i], strerror(errno));
	}
	return 0;
}

static int write_all(struct wfs_export *x, struct wfs_err *err)
{
	uint64_t bytes = 0;
	int rc = 0;

	for (size_t i = 0; i < x->count; i++)
		if (x->items[i].state != WFS_EXPORT_KEPT)
			bytes += x->items[i].size;
	wfs_progress_begin(&x->progress, stdout, "writing", bytes);
	for (size_t i = 0; i < x->count && !rc; i++) {
		struct wfs_export_item *item = &x->items[i];
		bool kept = item->state == WFS_EXPORT_KEPT;
		char path[4096], size[32];

		if (!kept)
			rc = wfs_export_write(x, item, err);
		if (rc)
			break;
		*(kept ? &x->kept : &x->written) += 1;
		*(kept ? &x->kept_bytes : &x->written_bytes) += item->size;
		wfs_text_escape(item->path, path, sizeof(path));
		wfs_progress_line(
			&x->progress, "%s %s (%s)", kept ? "kept" : "wrote",
			path, wfs_size_format(item->size, size, sizeof(size)));
	}
	wfs_progress_end(&x->progress);
	return rc;
}

/* The names themselves: what is finished has them after a power cut, too. */
static int sync_dirs(const struct wfs_export *x, struct wfs_err *err)
{
	for (size_t i = 0; i <= x->dir_count; i++) {
		const char *path = i < x->dir_count ? x->dirs[i] : ".";
		int fd wfs_autoclose = openat(
			x->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || (fsync(fd) && errno != EINVAL))
			return wfs_err_set(err, -errno,
					   "cannot write '%s/%s': %s",
					   x->target, path, strerror(errno));
	}
	return 0;
}

int wfs_export_run(struct wfs_export *x, struct wfs_err *err)
{
	int rc;

	x->dir_fd = x->work_fd = x->journal_fd = -1;
	x->umask = umask(0);
	umask(x->umask);
	rc = check_target(x, err);
	if (!rc)
		rc = wfs_export_list(x, err);
	if (!rc)
		rc = open_target(x, err);
	if (!rc)
		rc = wfs_export_journal_open(x, err);
	if (!rc)
		rc = wfs_export_survey(x, err);
	if (!rc)
		rc = make_dirs(x, err);
	if (!rc)
		rc = write_all(x, err);
	if (!rc)
		rc = sync_dirs(x, err);
	if (rc)
		wfs_export_work_leave(x);
	else
		wfs_export_work_remove(x);
	return rc;
}

void wfs_export_clear(struct wfs_export *x)
{
	int *fds[] = { &x->journal_fd, &x->work_fd, &x->dir_fd };

	for (size_t i = 0; i < x->count; i++)
		free(x->items[i].path);
	for (size_t i = 0; i < x->dir_count; i++)
		free(x->dirs[i]);
	free(x->items);
	free(x->dirs);
	free(x->finished);
	free(x->buffers[0]);
	free(x->buffers[1]);
	for (size_t i = 0; i < 3; i++) {
		wfs_closep(fds[i]);
		*fds[i] = -1;
	}
}
