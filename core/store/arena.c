/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena over the kernel's mount calls.
 *
 * They are called by number, with our own constants where the headers of the
 * distribution are older than the kernel we run on.
 */
#include "core/store/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/arena_clone.h"

#ifndef SYS_fsopen
#define SYS_fsopen   430
#define SYS_fsconfig 431
#define SYS_fsmount  432
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* Values of the kernel's interface; as enums they cannot be tested for. */
#define CONFIG_FLAG   0 /* FSCONFIG_SET_FLAG */
#define CONFIG_STRING 1 /* FSCONFIG_SET_STRING */
#define CONFIG_CREATE 6 /* FSCONFIG_CMD_CREATE */
#define ATTR_RDONLY   0x01u
#define ATTR_NOSUID   0x02u
#define ATTR_NODEV    0x04u
#define ATTR_NOEXEC   0x08u
#define ATTR_NOATIME  0x10u

struct attr {
	uint64_t attr_set, attr_clr, propagation, userns_fd;
};

static int config(int fs, unsigned cmd, const char *key, const char *value)
{
	if (syscall(SYS_fsconfig, fs, cmd, key, value, 0))
		return -errno;
	return 0;
}

static int fail(struct wfs_err *err, int code, const char *what)
{
	const char *remedy = "";

	if (code == -EPERM || code == -EACCES)
		remedy = "; run as root or with CAP_SYS_ADMIN";
	else if (code == -ENOSYS)
		remedy = "; Linux 5.12 or later is needed";
	else if (code == -ENODEV)
		remedy = "; the kernel has no tmpfs";
	return wfs_err_set(err, code, "cannot make the arena: %s: %s%s", what,
			   strerror(-code), remedy);
}

/* "deny" overrides whatever a mount asks for. */
static bool huge_denied(void)
{
	static const char path[] =
		"/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	char *text wfs_autofree = NULL;
	size_t len;

	return wfs_file_slurp(path, 4096, &text, &len) == 0 &&
	       strstr(text, "[deny]");
}

/* A configured tmpfs, not mounted yet. */
static int make_fs(uint64_t bytes, bool *ret_huge, struct wfs_err *err)
{
	char size[32];
	int fs wfs_autoclose = -1;
	bool huge;
	int rc;

	fs = (int)syscall(SYS_fsopen, "tmpfs", 1u /* FSOPEN_CLOEXEC */);
	if (fs < 0)
		return fail(err, -errno, "cannot open a tmpfs");
	snprintf(size, sizeof(size), "%" PRIu64, bytes);
	if ((rc = config(fs, CONFIG_STRING, "size", size)) ||
	    (rc = config(fs, CONFIG_STRING, "nr_inodes", "0")) ||
	    (rc = config(fs, CONFIG_STRING, "mode", "0700")))
		return fail(err, rc, "cannot set the size of a tmpfs");
	/* A kernel without huge pages refuses the word; so be it. */
	huge = config(fs, CONFIG_STRING, "huge", "within_size") == 0;
	/* Before 6.4, and in a user namespace: there it may be swapped. */
	rc = config(fs, CONFIG_FLAG, "noswap", NULL);
	if (rc && rc != -EINVAL)
		return fail(err, rc, "cannot keep a tmpfs out of swap");
	if ((rc = config(fs, CONFIG_CREATE, NULL, NULL)))
		return fail(err, rc, "cannot create a tmpfs");
	*ret_huge = huge && !huge_denied();
	return wfs_steal_fd(&fs);
}

static int clone_read_only(int mnt, struct wfs_err *err)
{
	struct attr attr = { .attr_set = ATTR_RDONLY };
	int clone wfs_autoclose = -1;

	clone = wfs_arena_clone(mnt);
	if (clone < 0)
		return fail(err, clone, "cannot clone its mount");
	if (syscall(SYS_mount_setattr, clone, "", AT_EMPTY_PATH, &attr,
		    sizeof(attr)))
		return fail(err, -errno, "cannot make its clone read-only");
	return wfs_steal_fd(&clone);
}

int wfs_arena_open(uint64_t bytes, struct wfs_arena *ret_arena,
		   struct wfs_err *err)
{
	struct wfs_arena arena = { .bytes = bytes };
	int fs wfs_autoclose = -1;
	int rw wfs_autoclose = -1;

	if (bytes > INT64_MAX - WFS_HUGE_PAGE || !bytes)
		return wfs_err_set(err, -EINVAL,
				   "cannot make an arena of %" PRIu64
				   " bytes: no such size",
				   bytes);
	arena.bytes =
		(bytes + WFS_HUGE_PAGE - 1) / WFS_HUGE_PAGE * WFS_HUGE_PAGE;
	fs = make_fs(arena.bytes, &arena.huge, err);
	if (fs < 0)
		return fs;
	rw = (int)syscall(SYS_fsmount, fs, 1u /* FSMOUNT_CLOEXEC */,
			  ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC |
				  ATTR_NOATIME);
	if (rw < 0)
		return fail(err, -errno, "cannot mount a tmpfs");
	arena.ro = clone_read_only(rw, err);
	if (arena.ro < 0)
		return arena.ro;
	arena.rw = wfs_steal_fd(&rw);
	*ret_arena = arena;
	return 0;
}

void wfs_arena_close(struct wfs_arena *arena)
{
	close(arena->ro);
	close(arena->rw);
	arena->ro = arena->rw = -1;
}

struct name {
	char text[12];
};

static struct name name_of(uint32_t serial)
{
	struct name name;

	snprintf(name.text, sizeof(name.text), "%08" PRIx32, serial);
	return name;
}

int wfs_arena_create(const struct wfs_arena *arena, uint32_t serial,
		     uint64_t size)
{
	struct name name = name_of(serial);
	int fd wfs_autoclose = -1;
	int rc = 0;

	fd = openat(arena->rw, name.text,
		    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (fd < 0)
		return -errno;
	/*
	 * within_size looks at the size that the file has at the moment a
	 * page is allocated, so that a large one needs it first.
	 */
	if (size >= WFS_HUGE_PAGE && ftruncate(fd, (off_t)size))
		rc = -errno;
	if (!rc && size && fallocate(fd, 0, 0, (off_t)size))
		rc = -errno;
	if (rc) {
		unlinkat(arena->rw, name.text, 0);
		return rc;
	}
	return wfs_steal_fd(&fd);
}

int wfs_arena_reopen(const struct wfs_arena *arena, uint32_t serial)
{
	struct name name = name_of(serial);
	int fd =
		openat(arena->ro, name.text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

void wfs_arena_unlink(const struct wfs_arena *arena, uint32_t serial)
{
	unlinkat(arena->rw, name_of(serial).text, 0);
}

uint64_t wfs_arena_used(const struct wfs_arena *arena)
{
	struct statfs fs;

	if (fstatfs(arena->rw, &fs))
		return arena->bytes;
	return (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
}

bool wfs_arena_idle(int fd)
{
	/*
	 * EAGAIN: somebody has it open or mapped.  EINVAL and all else: the
	 * kernel does not say, so somebody may.
	 */
	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		return false;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}
