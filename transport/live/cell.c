/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cell.h.  The copying lies between two looks at the epoch, with a full
 * barrier on either side of it, as the changing does between two steps of the
 * epoch: a copy that has one changed byte sees that the epoch is another.
 */
#include "transport/live/cell.h"

#include <errno.h>

#include "core/base/cond.h"
#include "core/base/mem.h"

/* The thread sanitizer knows no fences, and the locks do for what it sees. */
static void barrier(void)
{
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

void wfs_live_cell_init(struct wfs_live_cell *cell)
{
	pthread_mutex_init(&cell->lock, NULL);
	wfs_cond_init(&cell->changed);
	atomic_init(&cell->epoch, 0);
	cell->reading = 0;
	cell->revoked = false;
}

void wfs_live_cell_destroy(struct wfs_live_cell *cell)
{
	pthread_cond_destroy(&cell->changed);
	pthread_mutex_destroy(&cell->lock);
}

/* One on, if it is odd or even as wanted. */
static int step(struct wfs_live_cell *cell, bool odd, int otherwise)
{
	int rc = otherwise;

	barrier();
	pthread_mutex_lock(&cell->lock);
	if ((atomic_load(&cell->epoch) & 1) == odd) {
		atomic_fetch_add(&cell->epoch, 1);
		pthread_cond_broadcast(&cell->changed);
		rc = 0;
	}
	pthread_mutex_unlock(&cell->lock);
	barrier();
	return rc;
}

int wfs_live_cell_begin(struct wfs_live_cell *cell)
{
	return step(cell, false, -EALREADY);
}

int wfs_live_cell_end(struct wfs_live_cell *cell)
{
	return step(cell, true, -EINVAL);
}

/* What `epoch` is worth now, with the lock held. */
static int look(const struct wfs_live_cell *cell, uint64_t epoch)
{
	uint64_t now = atomic_load(&cell->epoch);

	if (cell->revoked || now > epoch + 1)
		return -ESTALE;
	return now == epoch ? 0 : -EBUSY;
}

int wfs_live_cell_now(struct wfs_live_cell *cell, uint64_t *ret_epoch)
{
	uint64_t epoch;
	int rc;

	pthread_mutex_lock(&cell->lock);
	epoch = atomic_load(&cell->epoch);
	rc = look(cell, epoch & ~1ull);
	pthread_mutex_unlock(&cell->lock);
	if (!rc)
		*ret_epoch = epoch;
	return rc;
}

int wfs_live_cell_enter(struct wfs_live_cell *cell, uint64_t epoch,
			uint64_t wait_ns)
{
	uint64_t until = wfs_now_ns() + wait_ns;
	int rc;

	pthread_mutex_lock(&cell->lock);
	rc = look(cell, epoch);
	while (rc == -EBUSY &&
	       wfs_cond_wait_until(&cell->changed, &cell->lock, until))
		rc = look(cell, epoch);
	cell->reading += rc == 0;
	pthread_mutex_unlock(&cell->lock);
	barrier();
	return rc;
}

bool wfs_live_cell_leave(struct wfs_live_cell *cell, uint64_t epoch)
{
	bool same;

	barrier();
	pthread_mutex_lock(&cell->lock);
	same = atomic_load(&cell->epoch) == epoch;
	if (--cell->reading == 0)
		pthread_cond_broadcast(&cell->changed);
	pthread_mutex_unlock(&cell->lock);
	return same;
}

bool wfs_live_cell_is_over(struct wfs_live_cell *cell, uint64_t epoch)
{
	bool over;

	pthread_mutex_lock(&cell->lock);
	over = look(cell, epoch) == -ESTALE;
	pthread_mutex_unlock(&cell->lock);
	return over;
}

void wfs_live_cell_revoke(struct wfs_live_cell *cell)
{
	pthread_mutex_lock(&cell->lock);
	cell->revoked = true;
	pthread_cond_broadcast(&cell->changed);
	while (cell->reading)
		pthread_cond_wait(&cell->changed, &cell->lock);
	pthread_mutex_unlock(&cell->lock);
}
