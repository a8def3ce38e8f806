/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoch of an engine's memory, and who is reading it.
 *
 * Whoever changes the memory makes the epoch odd before and even after, and
 * waits for nobody.  A reader copies what it wants and asks afterwards whether
 * the epoch is still the same: if not, the copy is thrown away, so nothing
 * that was read while the memory changed is ever used.  Only who takes the
 * memory away waits, until the last copy was made.
 */
#ifndef WFS_TRANSPORT_LIVE_CELL_H
#define WFS_TRANSPORT_LIVE_CELL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wfs_live_cell {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/*
	 * Written with the lock held, little-endian: a device may look at it,
	 * too.
	 */
	atomic_ullong *epoch;
	unsigned reading; /* guarded by the lock, like all below */
	bool revoked;
};

void wfs_live_cell_init(struct wfs_live_cell *cell);
void wfs_live_cell_destroy(struct wfs_live_cell *cell);

uint64_t wfs_live_cell_epoch(const struct wfs_live_cell *cell);

/* -EALREADY: somebody is at it; -EINVAL: nobody is. */
int wfs_live_cell_begin(struct wfs_live_cell *cell);
int wfs_live_cell_end(struct wfs_live_cell *cell);

/* The epoch that there is; -EBUSY: it is being changed; -ESTALE: revoked. */
int wfs_live_cell_now(struct wfs_live_cell *cell, uint64_t *ret_epoch);

/*
 * May the memory of that epoch be read?  Waits up to `wait_ns` while it is
 * being changed.  0; then wfs_live_cell_leave has to follow.  -EBUSY: it is
 * being changed still; -ESTALE: that epoch is over, or the memory gone.
 */
int wfs_live_cell_enter(struct wfs_live_cell *cell, uint64_t epoch,
			uint64_t wait_ns);
/* Was it all of that epoch?  Otherwise it must not be used. */
bool wfs_live_cell_leave(struct wfs_live_cell *cell, uint64_t epoch);

/* Is it over for good? */
bool wfs_live_cell_is_over(struct wfs_live_cell *cell, uint64_t epoch);

/*
 * From its return on nobody reads; and who reads all the same, by a device that
 * does not let go, finds no epoch that he expects.
 */
void wfs_live_cell_revoke(struct wfs_live_cell *cell);

#endif
