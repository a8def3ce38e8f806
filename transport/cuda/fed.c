/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills whose bytes the daemon brings, slot by slot of a ring that it writes:
 * the helper's side.  Several go on at a time, each with a ring of its own and
 * all on one stream, so that one whose source is slow holds up none.
 */
#include <errno.h>
#include <sys/mman.h>

#include "transport/cuda/work.h"

_Static_assert(WFS_GPU_FEED_SLOTS <= WFS_GPU_RING_MAX,
	       "a ring has a mark for each of its slots");

static struct wfs_gpu_feeder *find_feeder(struct wfs_gpu_work *work,
					  uint64_t id)
{
	for (size_t i = 0; i < WFS_GPU_FEEDERS; i++) {
		if (work->feeders[i].id == id)
			return &work->feeders[i];
	}
	return NULL;
}

static struct wfs_gpu_fed *find_fed(struct wfs_gpu_work *work, uint64_t id)
{
	for (size_t i = 0; i < WFS_GPU_FEDS; i++) {
		if (work->feds[i].id == id)
			return &work->feds[i];
	}
	return NULL;
}

static int refuse(struct wfs_gpu_work *work, int rc, const char *what)
{
	return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, rc, what);
}

int wfs_gpu_feeder_make(struct wfs_gpu_work *work,
			const struct wfs_gpu_request *ask,
			struct wfs_gpu_feeder **ret_feeder)
{
	struct wfs_gpu_feeder *feeder = find_feeder(work, 0);

	if (!feeder || !ask->ring || find_feeder(work, ask->ring)) {
		refuse(work, -EBUSY, "no more rings can be had");
		return -EBUSY;
	}
	*feeder = (struct wfs_gpu_feeder){
		.slots = { .cuda = work->cuda,
			   .stream = work->ring.stream,
			   .count = WFS_GPU_FEED_SLOTS },
	};
	*ret_feeder = feeder;
	return 0;
}

/* What the device cannot read is copied to a buffer that it can. */
static bool register_ring(struct wfs_gpu_work *work, void *at)
{
	return work->registers &&
	       wfs_cuda_call(work->cuda, cudaHostRegister, at,
			     WFS_GPU_FEED_RING,
			     WFS_CU_REGISTER_READ_ONLY) == WFS_CU_OK;
}

int wfs_gpu_ring_add(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask, int fd)
{
	struct wfs_gpu_feeder *feeder;
	int rc = wfs_gpu_feeder_make(work, ask, &feeder);
	void *at;

	if (rc)
		return rc;
	at = mmap(NULL, WFS_GPU_FEED_RING, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return refuse(work, -ENOMEM, "the ring cannot be mapped");
	feeder->at = at;
	feeder->registered = register_ring(work, at);
	feeder->id = ask->ring;
	return 0;
}

/* Its fills have finished, and nothing of it is under way. */
int wfs_gpu_ring_remove(struct wfs_gpu_work *work, uint64_t ring)
{
	struct wfs_gpu_feeder *feeder = ring ? find_feeder(work, ring) : NULL;

	if (!feeder || feeder->ptr)
		return refuse(work, -ENOENT, "there is no such ring");
	feeder->slots.stream = NULL; /* all have that */
	wfs_gpu_ring_clear(&feeder->slots);
	if (feeder->registered)
		wfs_cuda_call(work->cuda, cudaHostUnregister,
			      (void *)(uintptr_t)feeder->at);
	munmap((void *)(uintptr_t)feeder->at, WFS_GPU_FEED_RING);
	feeder->id = 0;
	return 0;
}

int wfs_gpu_begin(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		  int memory_fd)
{
	struct wfs_gpu_fed *fed = find_fed(work, 0);
	struct wfs_gpu_map *map;
	int rc;

	if (!fed || !ask->fed || find_fed(work, ask->fed))
		return refuse(work, -EBUSY, "too many fills at a time");
	rc = wfs_gpu_is_ready(work, ask);
	if (!rc)
		rc = wfs_gpu_map_get(work, ask, memory_fd, &map);
	if (rc)
		return rc;
	*fed = (struct wfs_gpu_fed){ .id = ask->fed, .map = map };
	return 0;
}

/* A mark behind what was queued of the slot, and the next one's turn. */
static int turn(struct wfs_gpu_work *work, struct wfs_gpu_ring *slots)
{
	unsigned code = wfs_gpu_slot_sent(slots, &slots->slots[slots->next]);

	if (!code)
		code = wfs_gpu_slot_wait(slots, &slots->slots[slots->next]);
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_COPY, code,
				   "a slot of the ring") :
		      0;
}

/* From here on the device sees what RDMA wrote there. */
static int settle(struct wfs_gpu_work *work,
		  const struct wfs_gpu_feeder *feeder)
{
	unsigned code = WFS_CU_OK;

	if (feeder->flushes)
		code = wfs_cuda_call(work->cuda,
				     cudaDeviceFlushGPUDirectRDMAWrites,
				     WFS_CU_FLUSH_DEVICE,
				     WFS_CU_FLUSH_TO_OWNER);
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_COPY, code,
				   "what RDMA wrote") :
		      0;
}

static int copy(struct wfs_gpu_work *work, const struct wfs_gpu_feeder *feeder,
		const struct wfs_gpu_request *ask, uint64_t to)
{
	int rc;

	if (!feeder->ptr)
		return wfs_gpu_copy_queue(work, feeder->at, feeder->registered,
					  ask->segments, ask->segment_count,
					  to);
	rc = settle(work, feeder);
	return rc ? rc :
		    wfs_gpu_copy_within(work, feeder->ptr, ask->segments,
					ask->segment_count, to);
}

int wfs_gpu_feed(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask)
{
	struct wfs_gpu_fed *fed = ask->fed ? find_fed(work, ask->fed) : NULL;
	struct wfs_gpu_feeder *feeder =
		ask->ring ? find_feeder(work, ask->ring) : NULL;
	int rc;

	if (!fed || !feeder || ask->slot >= WFS_GPU_FEED_SLOTS)
		return refuse(work, -EBADMSG, "there is no such fill");
	if (wfs_device_segments_check(ask->segments, ask->segment_count,
				      WFS_GPU_FEED_RING, fed->map->memory.bytes,
				      NULL))
		return refuse(work, -ERANGE, "a segment outside of the ring");
	feeder->slots.next = ask->slot;
	rc = copy(work, feeder, ask, fed->map->memory.ptr);
	return rc ? rc : turn(work, &feeder->slots);
}

int wfs_gpu_finish(struct wfs_gpu_work *work, uint64_t id)
{
	struct wfs_gpu_fed *fed = id ? find_fed(work, id) : NULL;
	int rc;

	if (!fed)
		return refuse(work, -ENOENT, "there is no such fill");
	rc = wfs_gpu_copy_wait(work);
	wfs_gpu_map_put(work, fed->map);
	fed->id = 0;
	return rc;
}
