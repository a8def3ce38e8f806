/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files registered with the kernel for passthrough.
 *
 * Two kinds: arena files, registered for the store through its exposer, and
 * local files that a virtual file equals byte for byte ("direct"), of which a
 * table is kept here, by stable inode number.  Whether passthrough can be
 * used at all is found out once, by trying.
 */
#ifndef WFS_FS_BACKING_H
#define WFS_FS_BACKING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/store/store.h"

struct wfs_backing;

struct wfs_backing *wfs_backing_new(void);
void wfs_backing_free(struct wfs_backing *b); /* NULL is fine */

/*
 * Before the first request: `why_not` (a sentence that stays) if
 * passthrough cannot be or is not to be used; else NULL and the connection's descriptor.
 */
void wfs_backing_setup(struct wfs_backing *b, int fuse_fd, const char *why_not);

/* Before the connection closes: its descriptor is not used any more. */
void wfs_backing_stop(struct wfs_backing *b);

/*
 * Tries passthrough once, with a memory file, on the first request: the
 * kernel takes no backing file before the connection is initialised.  Logs
 * what came of it.
 */
void wfs_backing_probe(struct wfs_backing *b);

bool wfs_backing_in_use(const struct wfs_backing *b);
/* "" while it is in use, or may turn out to be. */
const char *wfs_backing_why(const struct wfs_backing *b);

/* Where passthrough is not in use its ids mean nothing to the kernel. */
struct wfs_exposer wfs_backing_exposer(struct wfs_backing *b);

/*
 * The backing id of local file `fd` for virtual file `ino`, registered at
 * the first call.  Negative: the kernel refuses this file (for good); it is
 * then served by reads.
 */
int wfs_backing_direct(struct wfs_backing *b, uint64_t ino, int fd,
		       const char *path);

/* The registered id of `ino`, 0 if none yet, negative if refused. */
int wfs_backing_direct_peek(struct wfs_backing *b, uint64_t ino);

/* Gives back the direct ids of every ino with `ino & mask == value`. */
void wfs_backing_drop(struct wfs_backing *b, uint64_t mask, uint64_t value);

#endif
