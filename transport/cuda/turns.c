/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns of the ring in a device's memory: one fill lands bytes at a time, and
 * who waits can be told to stop.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "core/base/mem.h"
#include "transport/cuda/inner.h"

/* With the lock: who comes last waits last. */
static void join(struct wfs_gpu_helper *helper, struct wfs_gpu_turn *turn)
{
	struct wfs_gpu_turn **at = &helper->turns;

	while (*at)
		at = &(*at)->next;
	*at = turn;
}

/* With the lock: it need not be there. */
static void leave(struct wfs_gpu_helper *helper, struct wfs_gpu_turn *turn)
{
	struct wfs_gpu_turn **at = &helper->turns;

	while (*at && *at != turn)
		at = &(*at)->next;
	if (*at)
		*at = turn->next;
}

/* True: at once; else it is among those who wait. */
static bool take_or_join(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper,
			 struct wfs_gpu_turn *turn)
{
	bool mine;

	pthread_mutex_lock(&dev->lock);
	mine = !helper->landing;
	helper->landing = true;
	if (!mine)
		join(helper, turn);
	pthread_mutex_unlock(&dev->lock);
	return mine;
}

int wfs_gpu_turn_take(struct wfs_cuda_device *dev,
		      struct wfs_gpu_helper *helper,
		      const struct wfs_gpu_patience *patience)
{
	int bell wfs_autoclose = eventfd(0, EFD_CLOEXEC);
	struct wfs_gpu_turn turn = { .bell = bell };
	int rc;

	if (bell < 0)
		return -EMFILE;
	if (take_or_join(dev, helper, &turn))
		return 0;
	rc = wfs_gpu_wait_for(bell, patience);
	pthread_mutex_lock(&dev->lock);
	leave(helper, &turn);
	if (turn.mine)
		rc = 0;
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

void wfs_gpu_turn_give(struct wfs_cuda_device *dev,
		       struct wfs_gpu_helper *helper)
{
	struct wfs_gpu_turn *next;

	pthread_mutex_lock(&dev->lock);
	next = helper->turns;
	helper->landing = next != NULL;
	if (next) {
		helper->turns = next->next;
		next->mine = true;
		eventfd_write(next->bell, 1);
	}
	pthread_mutex_unlock(&dev->lock);
}
