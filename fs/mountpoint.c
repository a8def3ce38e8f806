/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mountpoint.h.
 */
#include "fs/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/mounts.h"
#include "core/base/text.h"

static int recover(const char *path, struct wfs_err *err)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
		return wfs_err_set(err, -errno,
				   "a dead mount lies on '%s' and cannot be "
				   "taken away: %s; try: fusermount3 -uz %s",
				   path, strerror(errno), path);
	wfs_warn("took away a dead earlier mount on '%s'", path);
	return 0;
}

static int check_empty(const char *path, struct wfs_err *err)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	bool empty = true;

	if (!dir)
		return wfs_err_set(err, -errno,
				   "cannot read mount point '%s': %s", path,
				   strerror(errno));
	while (empty && (d = readdir(dir)))
		empty = strcmp(d->d_name, ".") == 0 ||
			strcmp(d->d_name, "..") == 0;
	closedir(dir);
	if (!empty)
		return wfs_err_set(err, -ENOTEMPTY,
				   "mount point '%s' is not empty; empty it, "
				   "unmount what is there, or use -o nonempty",
				   path);
	return 0;
}

/* As stat(2); but of a dead mount that may still come from the cache. */
static int stat_live(const char *path, struct stat *st)
{
	int fd wfs_autoclose = -1;

	if (stat(path, st) != 0)
		return -1;
	if (!S_ISDIR(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 && (errno == ENOTCONN || errno == ECONNABORTED) ? -1 : 0;
}

int wfs_mountpoint_prepare(const char *path, bool nonempty, struct wfs_err *err)
{
	struct stat st;
	int r;

	/* One mount may lie on another: each may be dead. */
	while (stat_live(path, &st) != 0) {
		if (errno != ENOTCONN && errno != ECONNABORTED)
			return wfs_err_set(err, -errno,
					   "cannot use mount point '%s': %s",
					   path, strerror(errno));
		r = recover(path, err);
		if (r < 0)
			return r;
	}
	if (!S_ISDIR(st.st_mode))
		return wfs_err_set(err, -ENOTDIR,
				   "mount point '%s' is not a directory", path);
	return nonempty ? 0 : check_empty(path, err);
}

void wfs_mountpoint_readahead(const char *path, uint32_t kib)
{
	struct wfs_mounts mounts = { 0 };
	const struct wfs_mount *mount;
	char file[96];
	int fd wfs_autoclose = -1;

	if (kib == 0 || wfs_mounts_read(&mounts, NULL) < 0)
		return;
	mount = wfs_mounts_at(&mounts, path);
	if (mount) {
		snprintf(file, sizeof(file),
			 "/sys/class/bdi/%u:%u/read_ahead_kb", mount->major,
			 mount->minor);
		fd = open(file, O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && dprintf(fd, "%u", kib) < 0)
			wfs_debug("cannot set '%s': %s", file, strerror(errno));
	}
	wfs_mounts_clear(&mounts);
}
