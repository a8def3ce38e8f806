/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of this host as it was when it was listed, and whether it still is.
 */
#ifndef WFS_CORE_BASE_LISTED_H
#define WFS_CORE_BASE_LISTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

bool wfs_same_time(struct timespec a, struct timespec b);

/* Has it another size or another time of its last write? */
bool wfs_was_rewritten(const struct stat *now, uint64_t size,
		       struct timespec mtime);

/*
 * Reads exactly `len` bytes at `off`: 0; -ESTALE when they are not there
 * because the file was rewritten; -EIO.
 */
int wfs_pread_listed(int fd, uint64_t size, struct timespec mtime, void *buf,
		     size_t len, uint64_t off);

#endif
