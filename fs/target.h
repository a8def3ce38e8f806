/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of a reader that is to be filled: a file without a disk that the
 * reader passed as a descriptor.
 *
 * The reader may do to it whatever it likes meanwhile.  One that can no longer
 * shrink (F_SEAL_SHRINK) is mapped, and written under a guard; any other is
 * written by pwrite(2).  Only what is allocated is written: pages that are made
 * here would be charged to us instead of to the reader.
 */
#ifndef WFS_FS_TARGET_H
#define WFS_FS_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wfs_target {
	int fd;
	char *map; /* NULL: written by pwrite(2) */
	uint64_t bytes, map_bytes;
	atomic_bool *touched; /* of the map: blocks whose pages are there */
};

/*
 * The first `bytes` of `fd` (0: all), which is the target's from now on; it
 * stays the caller's on failure.
 *
 * -EPERM       not open for reading and writing
 * -EOPNOTSUPP  not a file of tmpfs or hugetlbfs, as memfds are
 * -EINVAL      of no bytes
 * -ERANGE      it has fewer bytes
 * -EFAULT      parts of it are not allocated
 * -ENOMEM      no room to map it
 */
int wfs_target_open(int fd, uint64_t bytes, struct wfs_target *ret_target);
void wfs_target_close(struct wfs_target *target);
/* Closes all of it but the descriptor, which is the caller's again. */
void wfs_target_unmap(struct wfs_target *target);

/* Is it still as it was?  0 or -EFAULT.  Before every few megabytes. */
int wfs_target_check(const struct wfs_target *target);

/* `count` runs of `len` bytes, `stride` apart, to `dst_stride` apart. */
struct wfs_runs {
	uint64_t len, count, stride, dst_stride;
};

/* Writes runs from `from` on to `off`; within the target.  0 or -EFAULT. */
int wfs_target_write(const struct wfs_target *target, uint64_t off,
		     const char *from, const struct wfs_runs *runs);

/*
 * Reads `len` bytes of a file straight into a target with a map: 0, -EFAULT
 * when it is the target that failed, -EIO … when it is the file, -ENODATA when
 * that ends before.
 */
int wfs_target_read(const struct wfs_target *target, uint64_t off, int fd,
		    uint64_t len, uint64_t file_off);

#endif
