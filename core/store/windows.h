/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: stretches of source files that stay mapped for a while.
 *
 * Ranks that copy short runs out of one file touch the same pages one after
 * another.  What maps a page costs more than the copy of what is wanted of it,
 * so it is done once for all of them, and again only after nobody came for
 * some seconds.  The page cache behind a window is the kernel's to take back.
 * A window holds a reference to its source, and whatever reads it does so
 * under a guard (core/base/guard.h): its file may be cut short at any time.
 *
 * Threads: every function from any thread.
 */
#ifndef WFS_CORE_STORE_WINDOWS_H
#define WFS_CORE_STORE_WINDOWS_H

#include <stdint.h>

#include "core/source.h"
#include "core/store/arena.h"

/* Windows begin on multiples of this: some of the largest pages. */
#define WFS_WINDOW_BYTES (8ull * WFS_HUGE_PAGE)
/* A run that begins in a window and is no longer ends in it. */
#define WFS_WINDOW_TAIL (16ull * 1024)

struct wfs_windows;

struct wfs_window {
	char *map; /* of the byte at `off`; to be read only */
	uint64_t off, len;
	struct wfs_region *region;
	struct wfs_window *prev, *next;
	unsigned users;
	uint64_t used_at; /* ns; the last time */
};

/*
 * Windows stay for `keep_ns` after their last use.  `begun` (may be NULL) is
 * told, on the caller's thread, when there are some after there were none:
 * time to ask wfs_windows_expire.
 */
struct wfs_windows *wfs_windows_new(uint64_t keep_ns, void (*begun)(void *ctx),
				    void *ctx);
/* When nobody has one. */
void wfs_windows_free(struct wfs_windows *windows); /* NULL is fine */

/*
 * The window in which the byte at `off` lies, of a region with a descriptor;
 * had until wfs_window_put.  -ENOTSUP: the file cannot be mapped.
 */
int wfs_window_get(struct wfs_windows *windows, struct wfs_region *region,
		   uint64_t off, struct wfs_window **ret_window);
void wfs_window_put(struct wfs_windows *windows, struct wfs_window *window);

/* Unmaps those of a source (NULL: of all) that nobody has. */
void wfs_windows_drop(struct wfs_windows *windows,
		      const struct wfs_source *source);

/* Unmaps what is too old; when to come again, in ns; UINT64_MAX: never. */
uint64_t wfs_windows_expire(struct wfs_windows *windows);

#endif
