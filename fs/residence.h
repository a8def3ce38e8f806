/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a file's bytes are now, and how it is served.
 */
#ifndef WFS_FS_RESIDENCE_H
#define WFS_FS_RESIDENCE_H

#include "fs/state.h"

/* What of it is in the arena; nothing where there is none. */
struct wfs_residency wfs_node_residency(struct wfs_fs *fs,
					const struct wfs_node *node);

/*
 * In memory now: in the arena, or of a local file in the page cache.  0, or
 * -ENODATA if that is not known.
 */
int wfs_resident_bytes(struct wfs_fs *fs, const struct wfs_node *node,
		       uint64_t *ret_bytes);

/*
 * True, and its digest as text (48 bytes), if it is known: of what is in the
 * arena, or was read for it.
 */
bool wfs_node_digest(struct wfs_fs *fs, const struct wfs_node *node,
		     char *ret_digest);

/* How opens are served now; of a file that is not open, how one would be. */
bool wfs_is_passed_through(struct wfs_fs *fs, const struct wfs_node *node);

/* Of what is put together as much as the least that it is made of. */
enum wfs_trust wfs_node_trust(const struct wfs_node *node);

/*
 * Has the file brought into the arena and waits for it, till `until_ns` of
 * wfs_now_ns or till `stop` (NULL: none) can be read.  Its backing id, until
 * wfs_store_release; -ETIMEDOUT; -EINTR; or as wfs_store_acquire and its waiters
 * have it: then it can still be read.
 */
int wfs_await_resident(struct wfs_fs *fs, const struct wfs_node *node,
		       const struct wfs_recipe *recipe, uint64_t until_ns,
		       const int *stop);

#define WFS_AWAIT_FDS 4

/*
 * The number of the last of `n` descriptors, up to WFS_AWAIT_FDS, that can be
 * read, as soon as one can; -1 is never.  -ETIMEDOUT.
 */
int wfs_await_readable(const int *fds, unsigned n, uint64_t until_ns);

#endif
