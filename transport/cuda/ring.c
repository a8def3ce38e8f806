/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ring.h.
 */
#include "transport/cuda/ring.h"

unsigned wfs_gpu_ring_open(struct wfs_gpu_ring *ret_ring,
			   const struct wfs_cuda *cuda, unsigned count,
			   size_t slot_bytes)
{
	struct wfs_gpu_ring ring = { .cuda = cuda,
				     .count = count,
				     .slot_bytes = slot_bytes };
	unsigned code = wfs_cuda_call(cuda, cudaStreamCreateWithFlags,
				      &ring.stream, WFS_CU_STREAM_NON_BLOCKING);

	if (!code)
		*ret_ring = ring;
	return code;
}

unsigned wfs_gpu_slot_wait(const struct wfs_gpu_ring *ring,
			   struct wfs_gpu_slot *slot)
{
	unsigned code = WFS_CU_OK;

	if (slot->busy)
		code = wfs_cuda_call(ring->cuda, cudaEventSynchronize,
				     slot->done);
	slot->busy = false;
	return code;
}

unsigned wfs_gpu_slot_pin(const struct wfs_gpu_ring *ring,
			  struct wfs_gpu_slot *slot)
{
	if (slot->bytes)
		return WFS_CU_OK;
	return wfs_cuda_call(ring->cuda, cudaHostAlloc, &slot->bytes,
			     ring->slot_bytes, 0);
}

unsigned wfs_gpu_slot_sent(struct wfs_gpu_ring *ring, struct wfs_gpu_slot *slot)
{
	unsigned code = WFS_CU_OK;

	if (!slot->done)
		code = wfs_cuda_call(ring->cuda, cudaEventCreateWithFlags,
				     &slot->done, WFS_CU_EVENT_NO_TIMING);
	if (!code)
		code = wfs_cuda_call(ring->cuda, cudaEventRecord, slot->done,
				     ring->stream);
	slot->busy = !code;
	ring->next = (ring->next + 1) % ring->count;
	return code;
}

void wfs_gpu_ring_clear(struct wfs_gpu_ring *ring)
{
	for (unsigned i = 0; i < ring->count; i++) {
		struct wfs_gpu_slot *slot = &ring->slots[i];

		if (slot->done)
			wfs_cuda_call(ring->cuda, cudaEventDestroy, slot->done);
		if (slot->bytes)
			wfs_cuda_call(ring->cuda, cudaFreeHost, slot->bytes);
		*slot = (struct wfs_gpu_slot){ 0 };
	}
	if (ring->stream)
		wfs_cuda_call(ring->cuda, cudaStreamDestroy, ring->stream);
	ring->stream = NULL;
}
