/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cell.h.  The copying lies between two looks at the epoch, with a full
 * barrier on either side of it, as the changing does between two steps of the
 * epoch: a copy that has one changed byte sees that the epoch is another.
 */
#include "transport/live/cell.h"

#include <errno.h>

#include "core/base/bytes.h"
#include "core/base/cond.h"
#include "core/base/mem.h"

/*
 * The thread sanitizer knows no fences, and the locks do for what it sees.
 * Devices look as well, where what is between processors does not reach.
 */
static void barrier(void)
{
#if defined(__aarch64__)
	__asm__ volatile("dmb sy" ::: "memory");
#elif !defined(__SANITIZE_THREAD__)
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

uint64_t wfs_live_cell_epoch(const struct wfs_live_cell *cell)
{
	return le64toh(atomic_load(cell->epoch));
}

static void put(struct wfs_live_cell *cell, uint64_t epoch)
{
	atomic_store(cell->epoch, htole64(epoch));
}

void wfs_live_cell_init(struct wfs_live_cell *cell)
{
	pthread_mutex_init(&cell->lock, NULL);
	wfs_cond_init(&cell->changed);
	cell->epoch = wfs_calloc(1, sizeof(*cell->epoch));
	cell->reading = 0;
	cell->revoked = false;
}

void wfs_live_cell_destroy(struct wfs_live_cell *cell)
{
	free(cell->epoch);
	pthread_cond_destroy(&cell->changed);
	pthread_mutex_destroy(&cell->lock);
}

/* One on, if it is odd or even as wanted. */
static int step(struct wfs_live_cell *cell, bool odd, int otherwise)
{
	int rc = otherwise;
	uint64_t epoch;

	barrier();
	pthread_mutex_lock(&cell->lock);
	epoch = wfs_live_cell_epoch(cell);
	if (!cell->revoked && (epoch & 1) == odd) {
		put(cell, epoch + 1);
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
	uint64_t now = wfs_live_cell_epoch(cell);

	if (cell->revoked || now > epoch + 1)
		return -ESTALE;
	return now == epoch ? 0 : -EBUSY;
}

int wfs_live_cell_now(struct wfs_live_cell *cell, uint64_t *ret_epoch)
{
	uint64_t epoch;
	int rc;

	pthread_mutex_lock(&cell->lock);
	epoch = wfs_live_cell_epoch(cell);
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
	same = wfs_live_cell_epoch(cell) == epoch;
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
	put(cell, UINT64_MAX);
	pthread_mutex_unlock(&cell->lock);
}
