/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries passthrough: mounts a FUSE file system in a mount namespace of a
 * child's own, answers the kernel's first request, and registers a memory
 * file.  Nothing is asked of the mount, so no second thread is needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "core/base/text.h"
#include "tools/doctor.h"

/*
 * The kernel's protocol, as in linux/fuse.h since 6.9; the headers of older
 * systems lack what this is about.
 */
struct init_request {
	uint32_t len, opcode;
	uint64_t unique, nodeid;
	uint32_t uid, gid, pid, padding;
	uint32_t major, minor, max_readahead, flags, flags2;
	uint8_t rest[4096 * 33]; /* the kernel wants room for a page or more */
};

struct init_reply {
	uint32_t len;
	int32_t error;
	uint64_t unique;
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth, unused[6];
};

struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define OPCODE_INIT	  26
#define FLAG_INIT_EXT	  (1u << 30)
#define FLAG2_PASSTHROUGH (1u << 5)
#define MAX_WRITE	  131072
#define BACKING_OPEN	  _IOW(229, 1, struct backing_map)

/* Mounts on `dir`, which only this process then sees.  The descriptor. */
static int mount_alone(const char *dir)
{
	char data[96];
	int fd;

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(data, sizeof(data),
		 "fd=%d,rootmode=40000,user_id=%u,group_id=%u", fd,
		 (unsigned)geteuid(), (unsigned)getegid());
	if (mount("weightfs-doctor", dir, "fuse",
		  MS_RDONLY | MS_NOSUID | MS_NODEV, data))
		return -errno;
	return fd;
}

static int answer_init(int fd)
{
	struct init_request *in wfs_autofree = wfs_calloc(1, sizeof(*in));
	struct init_reply out = { .len = sizeof(out) };
	ssize_t n = read(fd, in, sizeof(*in));

	if (n < 0)
		return -errno;
	if (in->opcode != OPCODE_INIT)
		return -EPROTO;
	if (!(in->flags & FLAG_INIT_EXT) || !(in->flags2 & FLAG2_PASSTHROUGH))
		return -EOPNOTSUPP;
	out.unique = in->unique;
	out.major = in->major;
	out.minor = in->minor;
	out.max_readahead = in->max_readahead;
	out.flags = FLAG_INIT_EXT;
	out.flags2 = FLAG2_PASSTHROUGH;
	out.max_write = MAX_WRITE;
	out.time_gran = 1;
	out.max_stack_depth = 1;
	return write(fd, &out, sizeof(out)) < 0 ? -errno : 0;
}

static int probe(const char *dir)
{
	struct backing_map map = { 0 };
	int fd = mount_alone(dir);
	int rc;

	if (fd < 0)
		return fd;
	rc = answer_init(fd);
	if (rc)
		return rc;
	map.fd = memfd_create("weightfs-doctor", MFD_CLOEXEC);
	if (map.fd < 0)
		return -errno;
	return ioctl(fd, BACKING_OPEN, &map) > 0 ? 0 : -errno;
}

int wfs_doctor_try_passthrough(void)
{
	char dir[] = "/tmp/weightfs-doctor-XXXXXX";
	int status = 0, rc = 0;
	pid_t pid;

	if (!mkdtemp(dir))
		return -errno;
	pid = fork();
	if (pid == 0)
		_exit(-probe(dir)); /* the mount goes with it */
	if (pid < 0)
		rc = -errno;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	rmdir(dir);
	if (rc)
		return rc;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}
