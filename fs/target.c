/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See target.h.
 */
#include "fs/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/guard.h"
#include "core/base/least.h"
#include "core/base/mem.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* since 5.14 */
#endif

#define BLOCK 512 /* of st_blocks, whatever the file system's */

/* Pages of a map are had by so many bytes: one by one they cost more than what
   is copied to them. */
#define TOUCHED (2ull << 20)
/* What is shorter costs less. */
#define TOUCH_MIN (256ull << 10)

static int check_file(int fd, uint64_t bytes)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size < bytes ||
	    (uint64_t)st.st_blocks * BLOCK < bytes)
		return -EFAULT;
	return 0;
}

/* The size of a file of memory that may be written. */
static int look_at(int fd, uint64_t *ret_size)
{
	int flags = fcntl(fd, F_GETFL);
	struct statfs fs;
	struct stat st;

	if (flags < 0 || fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) ||
	    (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC))
		return -EOPNOTSUPP;
	if ((flags & O_ACCMODE) != O_RDWR || flags & (O_PATH | O_APPEND))
		return -EPERM;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

/* What is mapped is whole pages, which hugetlbfs insists on. */
static uint64_t whole_pages(int fd, uint64_t bytes)
{
	struct stat st;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (fstat(fd, &st) == 0 && (uint64_t)st.st_blksize > page)
		page = (uint64_t)st.st_blksize;
	return (bytes + page - 1) / page * page;
}

static int map(struct wfs_target *target)
{
	int seals = fcntl(target->fd, F_GET_SEALS);
	void *at;

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return 0;
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	target->map_bytes = whole_pages(target->fd, target->bytes);
	at = mmap(NULL, target->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		  target->fd, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	target->map = at;
	target->touched = wfs_calloc(target->map_bytes / TOUCHED + 1,
				     sizeof(*target->touched));
	return 0;
}

int wfs_target_open(int fd, uint64_t bytes, struct wfs_target *ret_target)
{
	struct wfs_target target = { .fd = fd, .bytes = bytes };
	uint64_t size = 0;
	int rc = look_at(fd, &size);

	if (rc)
		return rc;
	if (!size)
		return -EINVAL;
	if (bytes > size)
		return -ERANGE;
	if (!bytes)
		target.bytes = size;
	rc = check_file(fd, target.bytes);
	if (!rc)
		rc = map(&target);
	if (!rc)
		*ret_target = target;
	return rc;
}

void wfs_target_unmap(struct wfs_target *target)
{
	if (target->map)
		munmap(target->map, target->map_bytes);
	target->map = NULL;
	free(target->touched);
	target->touched = NULL;
}

void wfs_target_close(struct wfs_target *target)
{
	wfs_target_unmap(target);
	close(wfs_steal_fd(&target->fd));
}

int wfs_target_check(const struct wfs_target *target)
{
	return check_file(target->fd, target->bytes);
}

/* Makes `len` bytes from `off` on pages of the map, where they are not yet. */
static void touch(const struct wfs_target *target, uint64_t off, uint64_t len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t at = off / TOUCHED, end = off + len, from;

	if (len < TOUCH_MIN)
		return;
	while (at * TOUCHED < end && atomic_load(&target->touched[at]))
		at++;
	if (at * TOUCHED >= end)
		return;
	from = wfs_most(at * TOUCHED, off / page * page);
	/* What cannot be is found out by who writes. */
	if (madvise(target->map + from, end - from, MADV_POPULATE_WRITE))
		return;
	for (at = (from + TOUCHED - 1) / TOUCHED; (at + 1) * TOUCHED <= end;
	     at++)
		atomic_store(&target->touched[at], true);
}

struct copy {
	char *to;
	const char *from;
	const struct wfs_runs *runs;
};

static void copy_runs(void *ctx)
{
	const struct copy *c = ctx;
	const struct wfs_runs *r = c->runs;

	for (uint64_t i = 0; i < r->count; i++)
		memcpy(c->to + i * r->dst_stride, c->from + i * r->stride,
		       r->len);
}

int wfs_target_write(const struct wfs_target *target, uint64_t off,
		     const char *from, const struct wfs_runs *runs)
{
	struct copy copy = { .from = from, .runs = runs };
	int rc = 0;

	if (target->map) {
		copy.to = target->map + off;
		if (runs->count == 1 || runs->dst_stride < 2 * runs->len)
			touch(target, off,
			      (runs->count - 1) * runs->dst_stride + runs->len);
		return wfs_guarded(target->map, target->bytes, copy_runs,
				   &copy) ?
			       0 :
			       -EFAULT;
	}
	for (uint64_t i = 0; i < runs->count && !rc; i++)
		rc = wfs_pwrite_all(target->fd, from + i * runs->stride,
				    runs->len, off + i * runs->dst_stride);
	return rc ? -EFAULT : 0;
}

int wfs_target_read(const struct wfs_target *target, uint64_t off, int fd,
		    uint64_t len, uint64_t file_off)
{
	ssize_t n;

	touch(target, off, len);
	n = wfs_pread_all(fd, target->map + off, len, file_off);
	if (n < 0)
		return (int)n;
	return (uint64_t)n < len ? -ENODATA : 0;
}
