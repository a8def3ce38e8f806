/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of small files that outlive the process: each appears by rename
 * and ends with the XXH3-128 of what is before, so that what a crash, a full
 * disk or somebody else left is not taken for one.  What is in it must be
 * believed, so nobody but us may write there.
 */
#ifndef WFS_CORE_DIGEST_KEPT_H
#define WFS_CORE_DIGEST_KEPT_H

#include <stddef.h>
#include <sys/stat.h>

#include "core/base/err.h"

struct wfs_kept;

/*
 * Makes `dir` (0700) if need be, and drops what is left over or was of no use
 * for half a year.  `what` ("digests"; a literal) is what messages call it.
 * -EPERM when others may write there, or why it cannot be had.
 */
int wfs_kept_open(const char *dir, const char *what, struct wfs_kept **ret_kept,
		  struct wfs_err *err);
void wfs_kept_close(struct wfs_kept *kept); /* NULL is fine */

/*
 * The bytes that were kept under `name`, at most `limit`; the caller frees
 * them.  -ENOENT; -EBADMSG for a damaged file, which is logged and removed.
 * NULL keeps nothing.
 */
int wfs_kept_load(struct wfs_kept *kept, const char *name, size_t limit,
		  char **ret_bytes, size_t *ret_len);
/*
 * Keeps the bytes in the place of others under that name, which is at most
 * NAME_MAX bytes and begins with no "new.".  A failure is logged once.
 */
int wfs_kept_save(struct wfs_kept *kept, const char *name, const void *bytes,
		  size_t len);
void wfs_kept_drop(struct wfs_kept *kept, const char *name);
/* It was of use: it stays for longer. */
void wfs_kept_touch(struct wfs_kept *kept, const char *name);
/* The same of one whose bytes are no sense, which is logged. */
void wfs_kept_refuse(struct wfs_kept *kept, const char *name);

/* Calls `each` for all that is kept, in no order; it may drop it. */
void wfs_kept_walk(struct wfs_kept *kept,
		   void (*each)(void *ctx, const char *name,
				const struct stat *st),
		   void *ctx);

#endif
