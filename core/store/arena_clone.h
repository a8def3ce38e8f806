/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second mount of a file system that is mounted nowhere.
 *
 * Before Linux 6.15 only what is mounted somewhere can be cloned, so there it
 * is mounted for a moment in a namespace that only a thread of ours sees.
 */
#ifndef WFS_CORE_STORE_ARENA_CLONE_H
#define WFS_CORE_STORE_ARENA_CLONE_H

/*
 * Clones a detached mount: a new descriptor, or a negative errno.  `mnt` stays
 * the caller's and can be used as before.
 */
int wfs_arena_clone(int mnt);
/* The same in the way that older kernels need. */
int wfs_arena_clone_aside(int mnt);

#endif
