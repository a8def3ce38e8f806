/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `weightfs umount`: takes a mount away and waits for its daemon's end, or
 * says who is in the way.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/base/text.h"
#include "tools/ask.h"
#include "tools/cmd.h"
#include "tools/holders.h"
#include "core/base/mounts.h"
#include "tools/path.h"
#include "fs/unmount.h"

#define WAIT_MS	  30000
#define FILES_MAX 64 /* the connection is among a daemon's first files */

struct args {
	const char *mountpoint;
	bool lazy;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case 'l':
		args->lazy = true;
		return 0;
	case ARGP_KEY_ARG:
		wfs_cmd_take(state, arg, &args->mountpoint, NULL);
		return 0;
	case ARGP_KEY_END:
		if (!args->mountpoint)
			argp_error(state, "MOUNTPOINT is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "lazy", 'l', NULL, 0,
	  "Detach it now; it ends when nobody uses it any more", 0 },
	{ 0 },
};

static const struct argp argp = {
	options,
	parse,
	"MOUNTPOINT",
	"Unmounts MOUNTPOINT, or says who holds it.\v"
	"Returns when the daemon is gone.",
	NULL,
	NULL,
	NULL,
};

/* Is that process one that serves FUSE?  (Its pid may be of another world.) */
static bool serves_fuse(int pid)
{
	char path[64], target[32];

	for (int fd = 0; fd < FILES_MAX; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 0) {
			target[n] = '\0';
			if (strcmp(target, "/dev/fuse") == 0)
				return true;
		}
	}
	return false;
}

/* A descriptor of the daemon's process, -1 when it is dead or unknown. */
static int open_daemon(const char *mountpoint, int *ret_pid)
{
	yyjson_doc *doc;
	int fd = -1;

	if (wfs_ask_status_json(mountpoint, &doc, NULL))
		return -1;
	*ret_pid = (int)wfs_json_number(yyjson_doc_get_root(doc), "pid");
	yyjson_doc_free(doc);
	if (*ret_pid <= 1)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, *ret_pid, 0);
	if (fd >= 0 && !serves_fuse(*ret_pid)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void wait_for_end(int pidfd, int pid)
{
	struct pollfd daemon = { .fd = pidfd, .events = POLLIN };

	if (poll(&daemon, 1, WAIT_MS) == 0)
		wfs_complain("unmounted, but the daemon (pid %d) is still "
			     "there",
			     pid);
}

static void name_holders(const struct wfs_mounts *mounts,
			 const struct wfs_mount *mount)
{
	struct wfs_holders holders;

	wfs_holders_find(mount, &holders);
	for (size_t i = 0; i < holders.count; i++) {
		struct wfs_holder *h = &holders.rows[i];

		wfs_complain("  pid %d (%s): %s", h->pid, h->command, h->how);
	}
	wfs_holders_clear(&holders);
	for (size_t i = 0; i < mounts->count; i++) {
		if (mounts->rows[i].parent == mount->id)
			wfs_complain("  another mount lies in it: '%s'",
				     mounts->rows[i].point);
	}
	wfs_complain("  to detach it now: weightfs umount --lazy %s",
		     mount->point);
}

static int unmount(const struct wfs_mounts *mounts,
		   const struct wfs_mount *mount, bool lazy)
{
	struct wfs_err err = { 0 };
	int pid = 0;
	int daemon wfs_autoclose = lazy ? -1 : open_daemon(mount->point, &pid);
	int rc = wfs_unmount(mount->point, lazy, &err);

	if (rc == -EBUSY) {
		wfs_complain("cannot unmount '%s': it is in use", mount->point);
		name_holders(mounts, mount);
		return WFS_EXIT_FAILURE;
	}
	if (rc) {
		wfs_complain("%s", err.text);
		return WFS_EXIT_FAILURE;
	}
	if (daemon >= 0)
		wait_for_end(daemon, pid);
	return WFS_EXIT_OK;
}

int wfs_cmd_umount(int argc, char **argv, const struct wfs_hooks *hooks)
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
	point = wfs_path_mountpoint(args.mountpoint);
	mount = wfs_mounts_at(&mounts, point);
	if (!mount)
		wfs_complain("nothing is mounted on '%s'", point);
	else if (!wfs_mount_is_weightfs(mount))
		wfs_complain("'%s' is no weightfs mount: its type is %s", point,
			     mount->fstype);
	else
		status = unmount(&mounts, mount, args.lazy);
	wfs_mounts_clear(&mounts);
	return status;
}
