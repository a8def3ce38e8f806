/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umount2(2) for root; for others the setuid helper of FUSE, of which only
 * its words tell a busy mount from other troubles.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "core/base/text.h"
#include "fs/unmount.h"

#define HELPER "fusermount3"

/* Runs the helper; its stderr goes to `said`.  Its exit status or -errno. */
static int run_helper(const char *path, bool lazy, char *said, size_t size)
{
	char name[] = HELPER, option[] = "-u", lazily[] = "-uz", end[] = "--";
	char *target wfs_autofree = wfs_strdup(path);
	char *argv[] = { name, lazy ? lazily : option, end, target, NULL };
	posix_spawn_file_actions_t actions;
	int fds[2], status = 0, rc;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
	rc = posix_spawnp(&pid, HELPER, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	while (rc == 0 && len < size - 1 &&
	       (n = read(fds[0], said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(fds[0]);
	if (rc)
		return -rc;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int unmount_by_helper(const char *path, bool lazy, struct wfs_err *err)
{
	char said[512];
	int rc = run_helper(path, lazy, said, sizeof(said));

	if (rc == 0)
		return 0;
	if (rc < 0)
		return wfs_err_set(err, rc,
				   "cannot unmount '%s': cannot run " HELPER
				   ": %s",
				   path, strerror(-rc));
	said[strcspn(said, "\n")] = '\0';
	return wfs_err_set(err, strstr(said, "busy") ? -EBUSY : -EPERM,
			   "cannot unmount '%s': %s", path, said);
}

int wfs_unmount(const char *path, bool lazy, struct wfs_err *err)
{
	int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);

	if (geteuid() != 0)
		return unmount_by_helper(path, lazy, err);
	if (umount2(path, flags) == 0)
		return 0;
	return wfs_err_set(err, -errno, "cannot unmount '%s': %s", path,
			   strerror(errno));
}
