/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk cache: bytes of sources that more than one file of this node
 * wants, or that come in larger pieces than they are wanted.
 *
 * A chunk is 1 MiB of a region, on the grid of multiples of that.  Of a region
 * with a descriptor only those pages of a chunk are fetched that were asked
 * for: the kernel has the rest.  Short runs of a file that can be mapped do not
 * come here: ranks share the kernel's page cache (core/plan/gather.h).  Of one
 * without, which lies far away, the whole chunk is.
 *
 *	one fetch	two threads want the same bytes: one of them asks the
 *			source, the other waits for it, also where the bytes
 *			go straight to the first one's memory.  What fails,
 *			fails for all who waited, and is tried again by the
 *			next.  What a holder has is copied from there.
 *	kept		until as many files as want a chunk's bytes have had
 *			all of them, or nobody wanted any for a minute, or
 *			its room is needed, the least recently used first.
 *	bounded		by a budget, and by what the cgroup and the machine
 *			have.  Without room nothing is kept and bytes go
 *			straight to who wants them: slower, never an error.
 *
 * Threads: every function from any thread.  No lock is held across a read
 * of a source.
 */
#ifndef WFS_CORE_STORE_CHUNKS_H
#define WFS_CORE_STORE_CHUNKS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/digest/digests.h"
#include "core/source.h"

/* Those that digests are of. */
#define WFS_CHUNK_BYTES ((uint64_t)WFS_CHUNK)

struct wfs_chunks;
struct wfs_windows;

struct wfs_chunks_config {
	uint64_t bytes;	  /* the most that is kept; 0 = an eighth of what an
			     arena has by default, at most 1 GiB */
	uint64_t keep_ns; /* how long for nobody; 0 = a minute */
};

/* -ENOMEM, -EAGAIN with a sentence: no address space, no thread. */
int wfs_chunks_open(const struct wfs_chunks_config *config,
		    struct wfs_chunks **ret_chunks, struct wfs_err *err);
/* When nobody reads any more; drops its references to sources. */
void wfs_chunks_close(struct wfs_chunks *chunks); /* NULL is fine */

/* Who wants some bytes of a region. */
struct wfs_chunk_want {
	unsigned files;	 /* of this node want them, the reader's included */
	uint64_t lo, hi; /* the bytes of the region that so many want */
};

/*
 * Reads `len` bytes at `off`, which lie in the region.  0, or a negative
 * errno: what the source said, -ESHUTDOWN after wfs_chunks_stop.  Whole
 * chunks that only the reader wants go straight to `buf`.
 */
int wfs_chunks_read(struct wfs_chunks *chunks, struct wfs_region *region,
		    const struct wfs_chunk_want *want, void *buf, size_t len,
		    uint64_t off);

/*
 * What this thread reads from now on stays in its memory until it lets go:
 * meanwhile others take it from there.  For who will make it known to others
 * in a moment, so that there is no moment at which it is to be found nowhere.
 */
void wfs_chunks_hold(void);
void wfs_chunks_let_go(struct wfs_chunks *chunks); /* NULL is fine */

/* Bytes of a chunk, borrowed until wfs_chunk_put. */
struct wfs_chunk_ref {
	const char *data;
	struct wfs_chunk *chunk; /* NULL: there was no room */
	char *own;
	struct wfs_chunk_want want;
	uint64_t off, len;
};

/*
 * The `len` bytes at `off`, which lie in one chunk and in the region; fails
 * as wfs_chunks_read does.
 */
int wfs_chunk_get(struct wfs_chunks *chunks, struct wfs_region *region,
		  const struct wfs_chunk_want *want, uint64_t off, uint64_t len,
		  struct wfs_chunk_ref *ret_ref);
/* The reader has had all that it wants of them. */
void wfs_chunk_put(struct wfs_chunks *chunks, struct wfs_chunk_ref *ref);

/* Drops what is kept of a source (NULL: of all) and nobody uses. */
void wfs_chunks_drop(struct wfs_chunks *chunks,
		     const struct wfs_source *source);

/*
 * Ends all waits, and whoever comes is refused with -ESHUTDOWN, until
 * wfs_chunks_start.  Fetches under way end when their sources let them.
 */
void wfs_chunks_stop(struct wfs_chunks *chunks);
void wfs_chunks_start(struct wfs_chunks *chunks);

/*
 * Who has bytes of sources besides, on this node: the arena.  What it has is
 * not fetched from far away.
 */
struct wfs_chunks_holder {
	void *ctx;
	/*
	 * Copies `len` bytes at `off` if it has all of them, as the source
	 * gave them (checked, if that checks).  `buf` may have changed if not.
	 */
	bool (*read)(void *ctx, struct wfs_region *region, void *buf,
		     size_t len, uint64_t off);
};

/* While nothing is read; {0}: nobody.  The holder outlives all reads. */
void wfs_chunks_ask(struct wfs_chunks *chunks, struct wfs_chunks_holder holder);

/* Of files that short runs are copied out of; unmapped by the same keeper. */
struct wfs_windows *wfs_chunks_windows(struct wfs_chunks *chunks);

struct wfs_chunks_stats {
	uint64_t bytes;	  /* the bound */
	uint64_t memory;  /* allocated now */
	uint64_t kept;	  /* chunks */
	uint64_t fetched; /* bytes asked of sources, or taken from a holder */
	uint64_t held;	  /* bytes taken from a holder */
	uint64_t served;  /* bytes given to readers */
	uint64_t waited;  /* for a fetch of somebody else's */
	uint64_t evicted; /* chunks that others may have wanted yet */
};

void wfs_chunks_stats(struct wfs_chunks *chunks, struct wfs_chunks_stats *ret);

#endif
