/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena: a tmpfs of our own that is mounted nowhere.
 *
 * Files are made through a writable mount of it and read back through a
 * read-only clone: a backing file that was opened through the writable mount
 * would let a client of the FUSE mount write, whatever its mode.  A file is
 * given its size and all of its space before anything is written, so that a
 * full arena is an error here and never a signal later.
 */
#ifndef WFS_CORE_STORE_ARENA_H
#define WFS_CORE_STORE_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

#define WFS_PAGE      4096u
#define WFS_HUGE_PAGE (2u << 20)

struct wfs_arena {
	int rw, ro;	/* the mount and its read-only clone */
	uint64_t bytes; /* the bound, a multiple of WFS_HUGE_PAGE */
	bool huge;	/* files of WFS_HUGE_PAGE and more get huge pages */
};

/* What a file of `size` bytes takes in the arena. */
static inline uint64_t wfs_arena_cost(uint64_t size)
{
	return (size + WFS_PAGE - 1) / WFS_PAGE * WFS_PAGE;
}

/*
 * Mounts a tmpfs of `bytes`, rounded up to huge pages.  -EPERM, -ENOSYS,
 * -ENODEV … with a sentence; wfs_arena_close after success only.
 */
int wfs_arena_open(uint64_t bytes, struct wfs_arena *ret_arena,
		   struct wfs_err *err);
void wfs_arena_close(struct wfs_arena *arena);

/*
 * A new file with all of its space, open for reading and writing; the name
 * is `serial`.  -EEXIST if that is taken, -ENOSPC if the arena is full,
 * -EMFILE/-ENFILE if descriptors are out.
 */
int wfs_arena_create(const struct wfs_arena *arena, uint32_t serial,
		     uint64_t size);

/* The file again, read-only, through the read-only clone. */
int wfs_arena_reopen(const struct wfs_arena *arena, uint32_t serial);

void wfs_arena_unlink(const struct wfs_arena *arena, uint32_t serial);

/* Bytes in use, those of unlinked files that are still mapped included. */
uint64_t wfs_arena_used(const struct wfs_arena *arena);

/*
 * Does nobody but us hold or map the file?  `fd` is our only descriptor and
 * read-only.  Leaves no lease behind.
 */
bool wfs_arena_idle(int fd);

#endif
