/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read by a rail, how long READs took, and how they failed.
 *
 * Any thread counts, without a lock; whoever looks sees each figure as it is at
 * that moment, which need not be that of its neighbour.
 */
#ifndef WFS_TRANSPORT_RDMA_TALLY_H
#define WFS_TRANSPORT_RDMA_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

/* READs that took less than 16 us, 32 us … 8.4 s, and all others. */
#define WFS_TALLY_FIRST_US 16
#define WFS_TALLY_BUCKETS  21

enum wfs_tally_error {
	WFS_TALLY_FLUSHED,	 /* posted before another one failed */
	WFS_TALLY_UNREACHABLE,	 /* the device sent it again in vain */
	WFS_TALLY_REMOTE_ACCESS, /* the key opens nothing (any more) */
	WFS_TALLY_REMOTE,	 /* otherwise the fault of the seed */
	WFS_TALLY_LOCAL,	 /* ours */
	WFS_TALLY_OTHER,
	WFS_TALLY_LATE,	 /* it did not complete at all */
	WFS_TALLY_ENDED, /* the seed ended the connection meanwhile */
	WFS_TALLY_ERRORS,
};

struct wfs_tally {
	atomic_ullong reads, bytes; /* of chunks, that arrived */
	atomic_ullong device_bytes; /* of these, in device memory */
	atomic_ullong ns;	    /* that they took, together */
	atomic_ullong retries;	    /* requests that had to be made again */
	atomic_ullong latency[WFS_TALLY_BUCKETS];
	atomic_ullong errors[WFS_TALLY_ERRORS];
};

void wfs_tally_read(struct wfs_tally *tally, uint64_t bytes, uint64_t ns);
/* A chunk that arrived is in device memory. */
void wfs_tally_landed(struct wfs_tally *tally, uint64_t bytes);
/* The status of a completion (enum ibv_wc_status). */
void wfs_tally_status(struct wfs_tally *tally, int status);
/* What waiting for one failed with (a negative errno). */
void wfs_tally_wait(struct wfs_tally *tally, int error);
void wfs_tally_retry(struct wfs_tally *tally, unsigned requests);

const char *wfs_tally_error_name(enum wfs_tally_error error);
/* Of a bucket but the last; microseconds. */
uint64_t wfs_tally_bound(unsigned bucket);
/* A bound that this part of all READs stayed below; 0: there was none. */
uint64_t wfs_tally_below(const struct wfs_tally *tally, double part);

#endif
