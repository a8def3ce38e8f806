/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream on which several copies are under way, each in a slot: with a pinned
 * buffer, where what is copied does not lie in memory that the device reads.
 */
#ifndef WFS_TRANSPORT_CUDA_RING_H
#define WFS_TRANSPORT_CUDA_RING_H

#include <stdbool.h>
#include <stddef.h>

#include "transport/cuda/cuda.h"

#define WFS_GPU_RING_MAX 4 /* slots */

struct wfs_gpu_slot {
	void *bytes; /* of the ring's slot_bytes, or NULL */
	cu_event done;
	bool busy; /* `done` is recorded behind its copies */
};

/* Of one thread, which has a device.  The functions return CUDA's code. */
struct wfs_gpu_ring {
	const struct wfs_cuda *cuda;
	cu_stream stream;
	size_t slot_bytes;
	unsigned count; /* slots, at most WFS_GPU_RING_MAX */
	unsigned next;	/* the slot that is used next, so the oldest */
	struct wfs_gpu_slot slots[WFS_GPU_RING_MAX];
};

/* Makes the stream; buffers come when they are wanted. */
unsigned wfs_gpu_ring_open(struct wfs_gpu_ring *ret_ring,
			   const struct wfs_cuda *cuda, unsigned count,
			   size_t slot_bytes);
/* Waits until a slot's copies have happened; at once if there are none. */
unsigned wfs_gpu_slot_wait(const struct wfs_gpu_ring *ring,
			   struct wfs_gpu_slot *slot);
/* The slot has its buffer. */
unsigned wfs_gpu_slot_pin(const struct wfs_gpu_ring *ring,
			  struct wfs_gpu_slot *slot);
/* What was queued for the slot is under way, and the next slot's turn. */
unsigned wfs_gpu_slot_sent(struct wfs_gpu_ring *ring,
			   struct wfs_gpu_slot *slot);
/* Frees buffers, events and stream; nothing may be under way.  Zeros do. */
void wfs_gpu_ring_clear(struct wfs_gpu_ring *ring);

#endif
