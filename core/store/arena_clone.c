/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See arena_clone.h.  By number, as in arena.c.
 */
#include "core/store/arena_clone.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* A value of the kernel's interface; as an enum it cannot be tested for. */
#define FROM_EMPTY_PATH 0x04u /* MOVE_MOUNT_F_EMPTY_PATH */

struct aside {
	int mnt;
	int clone; /* or a negative errno */
};

static int clone_mount(int mnt)
{
	int fd = (int)syscall(SYS_open_tree, mnt, "",
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				      AT_EMPTY_PATH);

	return fd < 0 ? -errno : fd;
}

/*
 * Over a mount that propagates nothing to where others would see it.  The root
 * of a chroot need not be one at all.
 */
static int attach(int mnt)
{
	static const char *const places[] = { "/", "/proc" };
	int rc = -EINVAL;

	for (size_t i = 0; rc && i < sizeof(places) / sizeof(*places); i++) {
		rc = 0;
		if (mount(NULL, places[i], NULL, MS_SLAVE, NULL) ||
		    syscall(SYS_move_mount, mnt, "", AT_FDCWD, places[i],
			    FROM_EMPTY_PATH))
			rc = -errno;
	}
	return rc;
}

/* The namespace goes with the thread; both mounts stay, by descriptor. */
static void *clone_apart(void *arg)
{
	struct aside *aside = arg;
	int rc = unshare(CLONE_NEWNS) ? -errno : attach(aside->mnt);

	aside->clone = rc ? rc : clone_mount(aside->mnt);
	return NULL;
}

int wfs_arena_clone_aside(int mnt)
{
	struct aside aside = { .mnt = mnt };
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, clone_apart, &aside);

	if (rc)
		return -rc;
	pthread_join(thread, NULL);
	return aside.clone;
}

int wfs_arena_clone(int mnt)
{
	int rc = clone_mount(mnt);

	return rc == -EINVAL ? wfs_arena_clone_aside(mnt) : rc;
}
