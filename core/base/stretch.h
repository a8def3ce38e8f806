/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that stays: stretches of this process's memory that many reads go to
 * one after another, such as a file of the arena while it is filled.
 *
 * What must prepare memory before it can write there (a device that wants it
 * registered) does so once for a stretch, which it finds by the address that it
 * is to write to, and is told before the stretch goes.
 */
#ifndef WFS_CORE_BASE_STRETCH_H
#define WFS_CORE_BASE_STRETCH_H

#include <stdbool.h>
#include <stdint.h>

struct wfs_stretch {
	uint8_t *start;
	uint64_t len;
};

/* Stretches do not overlap.  From any thread, as all of these. */
void wfs_stretch_add(void *start, uint64_t len);

/*
 * Called before the memory goes, when no read to it is under way: on return
 * all who watch have let go of it.
 */
void wfs_stretch_remove(void *start);

/*
 * The one that all `len` bytes at `at` lie in.  For reads under way only: it
 * stays for as long as such a read does.
 */
bool wfs_stretch_find(const void *at, uint64_t len,
		      struct wfs_stretch *ret_stretch);

struct wfs_stretch_watch {
	/* Lets go of it; adds, removes, watches and unwatches nothing. */
	void (*gone)(void *ctx, const struct wfs_stretch *stretch);
	void *ctx;
	struct wfs_stretch_watch *next; /* stretch.c's */
};

/* The caller's, until it is unwatched: no `gone` runs or comes after that. */
void wfs_stretch_watch(struct wfs_stretch_watch *watch);
void wfs_stretch_unwatch(struct wfs_stretch_watch *watch);

#endif
