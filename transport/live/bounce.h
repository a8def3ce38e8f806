/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks on their way out: copies of an engine's memory.
 *
 * The kernel copies, by pwritev(2) into a file in memory that is mapped here.
 * So memory that is gone (freed without a word, a device's) is an error, not
 * a fault that kills the engine; no sandbox forbids it, and no sanitizer takes
 * a read that is thrown away for a race.
 */
#ifndef WFS_TRANSPORT_LIVE_BOUNCE_H
#define WFS_TRANSPORT_LIVE_BOUNCE_H

#include <stdint.h>
#include <sys/uio.h>

#include "core/base/err.h"

struct wfs_bounces;

/* Who copies memory that the kernel cannot, of a device. */
struct wfs_live_reader {
	/*
	 * Copies `n` pieces, a chunk at most, to `off` in the file `fd`, and
	 * has done so when it returns: 0, -EFAULT when they are no memory of
	 * its, or another negative errno.  From any thread.
	 */
	int (*read)(void *ctx, const struct iovec *pieces, int n, int fd,
		    uint64_t off);
	void *ctx;
};

/* Room for one chunk. */
struct wfs_bounce {
	struct wfs_bounces *bounces;
	const char *bytes;
	uint64_t off; /* in the file */
};

int wfs_bounces_new(struct wfs_bounces **ret_bounces, struct wfs_err *err);
/* All must have been put.  NULL is fine. */
void wfs_bounces_free(struct wfs_bounces *bounces);
/* In a child after a fork: only gives back what costs memory. */
void wfs_bounces_abandon(struct wfs_bounces *bounces);

/* NULL: so many are under way that there is none. */
struct wfs_bounce *wfs_bounce_get(struct wfs_bounces *bounces);
void wfs_bounce_put(struct wfs_bounce *bounce);

/*
 * Copies `n` pieces (changed), `len` bytes in all, to `at` in the bounce:
 * 0, -EFAULT when they are no memory, or another negative errno.
 */
int wfs_bounce_fill(struct wfs_bounce *bounce, size_t at,
		    const struct iovec *pieces, int n, size_t len);
/* The same by a reader. */
int wfs_bounce_fill_by(struct wfs_bounce *bounce, size_t at,
		       const struct wfs_live_reader *reader,
		       const struct iovec *pieces, int n);

#endif
