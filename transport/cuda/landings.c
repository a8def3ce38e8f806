/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring in a device's memory that RDMA writes: one of each helper, made for
 * the first fill that could use it, and ended with the helper.  Fills at the
 * same time use its slots in turn, so that none waits for all of another.
 */
#include <errno.h>

#include "core/base/least.h"
#include "core/base/mem.h"
#include "transport/cuda/inner.h"

#define PAGE 4096u

/* With the lock: the process that this is the life of; NULL: it is over. */
static struct wfs_gpu_process *process_of(struct wfs_gpu_helper *helper,
					  unsigned life)
{
	return helper->process.pid && helper->starts == life ?
		       &helper->process :
		       NULL;
}

/* The helper is its reader's: what it says has to make sense. */
static struct wfs_landing_ring *make(struct wfs_cuda_device *dev,
				     struct wfs_gpu_helper *helper,
				     unsigned life, uint64_t id)
{
	struct wfs_gpu_request ask = { .op = WFS_GPU_SHARE, .ring = id };
	int fd wfs_autoclose = -1;
	struct wfs_gpu_talk talk = {
		.ask = &ask,
		.fds = { -1, -1 },
		.deadline_ns = wfs_now_ns() + WFS_GPU_TIDY_NS,
		.life = &life,
		.ret_fd = &fd,
	};
	struct wfs_device_fault fault;
	const struct wfs_gpu_answer *answer = &talk.answer;

	if (wfs_gpu_helper_ask(dev, helper, &talk, &fault, NULL) ||
	    answer->status || fd < 0 ||
	    answer->memory_bytes != WFS_GPU_FEED_RING || answer->address % PAGE)
		return NULL;
	return wfs_landing_ring_new(wfs_steal_fd(&fd), answer->address,
				    WFS_GPU_FEED_RING);
}

/* It is kept by who keeps the process; false: that is gone. */
static bool keep(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		 unsigned life, struct wfs_landing_ring *ring)
{
	struct wfs_gpu_process *process;

	pthread_mutex_lock(&dev->lock);
	process = process_of(helper, life);
	if (process)
		process->ring = wfs_landing_ring_get(ring);
	pthread_mutex_unlock(&dev->lock);
	return process;
}

/* Who has the turn: one that is there, or may be made; its number is told. */
static struct wfs_landing_ring *
find(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper, unsigned life,
     struct wfs_gpu_landing *landing, bool *ret_may_make)
{
	struct wfs_landing_ring *ring = NULL;
	struct wfs_gpu_process *process;

	pthread_mutex_lock(&dev->lock);
	process = process_of(helper, life);
	*ret_may_make = process && !process->ring_id;
	if (*ret_may_make)
		process->ring_id = dev->next_id++;
	if (process) {
		landing->id = process->ring_id;
		landing->slot = process->ring_slot;
		if (process->ring)
			ring = wfs_landing_ring_get(process->ring);
	}
	pthread_mutex_unlock(&dev->lock);
	return ring;
}

static struct wfs_landing_ring *find_or_make(struct wfs_cuda_device *dev,
					     struct wfs_gpu_helper *helper,
					     unsigned life,
					     struct wfs_gpu_landing *landing)
{
	bool may_make;
	struct wfs_landing_ring *ring =
		find(dev, helper, life, landing, &may_make);

	if (!may_make)
		return ring;
	ring = make(dev, helper, life, landing->id);
	if (ring && !keep(dev, helper, life, ring)) {
		wfs_landing_ring_put(ring);
		ring = NULL;
	}
	return ring;
}

int wfs_gpu_landing_get(struct wfs_cuda_device *dev,
			struct wfs_gpu_helper *helper, unsigned life,
			const struct wfs_gpu_patience *patience,
			struct wfs_gpu_landing *ret_landing)
{
	struct wfs_gpu_patience turn = *patience;
	int rc;

	turn.deadline_ns =
		wfs_least(turn.deadline_ns, wfs_now_ns() + WFS_GPU_TURN_NS);
	rc = wfs_gpu_turn_take(dev, helper, &turn);
	if (rc == -EMFILE ||
	    (rc == -ETIMEDOUT && turn.deadline_ns < patience->deadline_ns))
		return -ENOTSUP;
	if (rc)
		return rc;
	ret_landing->ring = find_or_make(dev, helper, life, ret_landing);
	if (ret_landing->ring)
		return 0;
	wfs_gpu_turn_give(dev, helper);
	return -ENOTSUP;
}

void wfs_gpu_landing_put(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper, unsigned life,
			 struct wfs_gpu_landing *landing, bool fed)
{
	struct wfs_landing_ring *ring = wfs_steal_ptr(&landing->ring);
	struct wfs_gpu_process *process;

	pthread_mutex_lock(&dev->lock);
	process = process_of(helper, life);
	if (process && fed)
		process->ring_slot = (landing->slot + 1) % WFS_GPU_FEED_SLOTS;
	pthread_mutex_unlock(&dev->lock);
	wfs_gpu_turn_give(dev, helper);
	/* The last of a dead helper's waits for who carries bytes there. */
	wfs_landing_ring_put(ring);
}
