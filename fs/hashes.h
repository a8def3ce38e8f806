/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XXH3-128 of files whose bytes lie on this node and are not in the arena:
 * read when somebody asks for it, by one thread that stands back behind all
 * others, and known until the model goes.  Of what is in the arena the store
 * knows it.
 */
#ifndef WFS_FS_HASHES_H
#define WFS_FS_HASHES_H

#include "fs/state.h"

/* So many are known or on their way; what is asked beyond is not begun. */
#define WFS_HASHES_MAX 65536

struct wfs_hashes;

/* `fs` outlives it. */
struct wfs_hashes *wfs_hashes_new(struct wfs_fs *fs);
/* Ends the thread, also in mid-file. */
void wfs_hashes_stop(struct wfs_hashes *hashes); /* NULL is fine */
void wfs_hashes_free(struct wfs_hashes *hashes); /* NULL is fine */

/* True, and the digest as text (48 bytes), if it is known; never waits. */
bool wfs_hashes_find(struct wfs_hashes *hashes, const struct wfs_node *node,
		     char *ret_digest);
/* Has it read, of a file of this node, unless that is known or under way. */
void wfs_hashes_want(struct wfs_hashes *hashes, const struct wfs_node *node);

/* Forgets a slot that will not be served again. */
void wfs_hashes_drop(struct wfs_hashes *hashes, uint32_t slot);

#endif
