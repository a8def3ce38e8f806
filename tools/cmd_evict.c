/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs evict`: asks the daemon to drop what nobody uses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/text.h"
#include "fs/weightfs_ioctl.h"
#include "tools/cmd.h"
#include "core/base/mounts.h"
#include "tools/path.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **path = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	wfs_cmd_take(state, arg, path, NULL);
	return 0;
}

static const struct argp argp = {
	NULL,
	parse,
	"[PATH]",
	"Drops every tensor from memory that nobody has open or mapped.\v"
	"PATH names the mount: its mount point or anything in it. It may be "
	"left out where there is only one.",
	NULL,
	NULL,
	NULL,
};

/* The mount that is meant, or NULL with a sentence. */
static const struct wfs_mount *choose(const struct wfs_mounts *mounts,
				      const char *arg, struct wfs_err *err)
{
	const struct wfs_mount *found = NULL;
	char *path wfs_autofree = NULL;

	if (arg) {
		path = wfs_path_mountpoint(arg);
		found = wfs_mounts_of(mounts, path);
		if (found && wfs_mount_is_weightfs(found))
			return found;
		wfs_err_set(err, -EINVAL,
			    "'%s' does not lie in a weightfs mount", path);
		return NULL;
	}
	for (size_t i = 0; i < mounts->count; i++) {
		const struct wfs_mount *m = &mounts->rows[i];

		if (!wfs_mounts_shows(mounts, m))
			continue;
		if (found) {
			wfs_err_set(err, -EINVAL,
				    "there is more than one weightfs mount: "
				    "say which ('%s', '%s', …)",
				    found->point, m->point);
			return NULL;
		}
		found = m;
	}
	if (!found)
		wfs_err_set(err, -ENOENT, "no weightfs is mounted");
	return found;
}

static int evict(const char *point, struct weightfs_evict *ret,
		 struct wfs_err *err)
{
	char *path wfs_autofree = wfs_asprintf("%s/.weightfs/version", point);
	int fd wfs_autoclose = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return wfs_err_set(err, -errno, "cannot open '%s': %s", path,
				   strerror(errno));
	if (ioctl(fd, WEIGHTFS_IOC_EVICT, ret) == 0)
		return 0;
	if (errno == EPERM)
		return wfs_err_set(err, -EPERM,
				   "cannot evict on '%s': only root and the "
				   "user of the daemon may",
				   point);
	return wfs_err_set(err, -errno, "cannot evict on '%s': %s", point,
			   strerror(errno));
}

int wfs_cmd_evict(int argc, char **argv, const struct wfs_hooks *hooks)
{
	const char *arg = NULL;
	struct weightfs_evict got = { 0 };
	struct wfs_mounts mounts = { 0 };
	struct wfs_err err = { 0 };
	const struct wfs_mount *mount = NULL;
	char freed[32], left[32];

	(void)hooks;
	wfs_cmd_parse(&argp, argc, argv, &arg);
	if (wfs_mounts_read(&mounts, &err) == 0)
		mount = choose(&mounts, arg, &err);
	if (mount)
		evict(mount->point, &got, &err);
	wfs_mounts_clear(&mounts);
	if (err.code) {
		wfs_complain("%s", err.text);
		return WFS_EXIT_FAILURE;
	}
	printf("freed %s, %s still in use\n",
	       wfs_size_format(got.freed, freed, sizeof(freed)),
	       wfs_size_format(got.left, left, sizeof(left)));
	return WFS_EXIT_OK;
}
