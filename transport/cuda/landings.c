/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring in a device's memory that RDMA writes: one of each helper, made for
 * the first fill that could use it, and ended with the helper.
 */
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

struct wfs_landing_ring *wfs_gpu_landing_get(struct wfs_cuda_device *dev,
					     struct wfs_gpu_helper *helper,
					     unsigned life, uint64_t *ret_id)
{
	struct wfs_landing_ring *ring = NULL;
	struct wfs_gpu_process *process;
	bool mine;

	pthread_mutex_lock(&dev->lock);
	process = process_of(helper, life);
	mine = process && !process->ring_taken;
	if (mine) {
		process->ring_taken = true;
		if (process->ring)
			ring = wfs_landing_ring_get(process->ring);
		else
			process->ring_id = dev->next_id++;
		*ret_id = process->ring_id;
	}
	pthread_mutex_unlock(&dev->lock);
	if (!mine || ring)
		return ring;
	ring = make(dev, helper, life, *ret_id);
	if (ring && !keep(dev, helper, life, ring)) {
		wfs_landing_ring_put(ring);
		ring = NULL;
	}
	return ring;
}

void wfs_gpu_landing_put(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper, unsigned life,
			 struct wfs_landing_ring *ring)
{
	struct wfs_gpu_process *process;

	if (!ring)
		return;
	pthread_mutex_lock(&dev->lock);
	process = process_of(helper, life);
	if (process && process->ring == ring)
		process->ring_taken = false;
	pthread_mutex_unlock(&dev->lock);
	wfs_landing_ring_put(ring);
}
