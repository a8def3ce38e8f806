/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See listed.h.
 */
#include "core/base/listed.h"

#include <errno.h>

#include "core/base/mem.h"

bool wfs_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool wfs_was_rewritten(const struct stat *now, uint64_t size,
		       struct timespec mtime)
{
	return (uint64_t)now->st_size != size ||
	       !wfs_same_time(now->st_mtim, mtime);
}

int wfs_pread_listed(int fd, uint64_t size, struct timespec mtime, void *buf,
		     size_t len, uint64_t off)
{
	ssize_t got = wfs_pread_all(fd, buf, len, off);
	struct stat st;

	if (got < 0)
		return got == -ESTALE ? -ESTALE : -EIO;
	if ((size_t)got == len)
		return 0;
	/* It ends before its listed size: changed, or a bad device? */
	return fstat(fd, &st) == 0 && wfs_was_rewritten(&st, size, mtime) ?
		       -ESTALE :
		       -EIO;
}
