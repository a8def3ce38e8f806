/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory that a source's bytes land in, past the memory of this host.
 *
 * A ring is memory of a GPU that its owner, a helper process, exported once as
 * a dma-buf.  What carries bytes there (transport/rdma) registers it once with
 * each of its devices, for as long as the ring is held.  Which bytes of it are
 * whose, and when, is the business of who calls wfs_region_land: nobody looks
 * at them, or lands others there, before that call returned.
 */
#ifndef WFS_CORE_LANDING_H
#define WFS_CORE_LANDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wfs_landing_ring {
	int fd;		  /* the dma-buf of all of it */
	uint64_t address; /* of its first byte, as its owner sees it */
	uint64_t bytes;
	atomic_uint refs;
	atomic_bool ended;
};

/*
 * `fd` is taken over; `address` and `bytes` are multiples of a page.  One
 * reference.
 */
struct wfs_landing_ring *wfs_landing_ring_new(int fd, uint64_t address,
					      uint64_t bytes);
struct wfs_landing_ring *wfs_landing_ring_get(struct wfs_landing_ring *ring);
/* The last one: on return no device has it registered.  NULL is fine. */
void wfs_landing_ring_put(struct wfs_landing_ring *ring);
/*
 * Its owner is gone, or wants it back: landings there, those under way too,
 * fail with -ECANCELED.  Returns at once; a device may write there until those
 * that were under way returned.
 */
void wfs_landing_ring_end(struct wfs_landing_ring *ring);

/* One call of wfs_region_land; the caller's, as long as it is under way. */
struct wfs_landing {
	struct wfs_landing_ring *ring; /* the caller has a reference */
	uint64_t at;		       /* where in it the bytes go */
	uint64_t deadline_ns;	       /* of wfs_now_ns; 0: none */
	atomic_int stopped;	       /* 0, or a negative errno */
};
/*
 * It is to return `why`, soon; from any thread.  While it is not under way
 * yet: as soon as it is.
 */
void wfs_landing_stop(struct wfs_landing *landing, int why);

/* 0, or why it is to go no further: stopped, its ring's end, its deadline. */
int wfs_landing_why_stop(const struct wfs_landing *landing);

/* For who carries bytes to rings. */
struct wfs_landing_watch {
	/*
	 * Some landing is to stop, or some ring ended: whoever waits for one
	 * looks again.  May be NULL, as the next.
	 */
	void (*look)(void *ctx);
	/* Nothing lands there any more: lets go of it. */
	void (*gone)(void *ctx, const struct wfs_landing_ring *ring);
	void *ctx;
	struct wfs_landing_watch *next; /* landing.c's */
};

/* The caller's, until it is unwatched: neither runs or comes after that. */
void wfs_landing_watch(struct wfs_landing_watch *watch);
void wfs_landing_unwatch(struct wfs_landing_watch *watch);

#endif
