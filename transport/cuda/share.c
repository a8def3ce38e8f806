/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring in the device's memory that RDMA writes, exported as a dma-buf: the
 * helper's side.  Only where what was written there is seen by the device's
 * copies: in order for its owner, or once the host has had it flushed.
 */
#include <errno.h>

#include "transport/cuda/work.h"

#define ALIGN 4096u /* of what can be exported */

static int attribute(const struct wfs_gpu_work *work, cu_attr attr)
{
	int value = 0;

	return wfs_cuda_call(work->cuda, cudaDeviceGetAttribute, &value, attr,
			     work->device) ?
		       0 :
		       value;
}

static bool exports(const struct wfs_gpu_work *work)
{
	int value = 0;

	return work->cuda->cuDeviceGetAttribute &&
	       work->cuda->cuMemGetHandleForAddressRange &&
	       !wfs_cuda_call(work->cuda, cuDeviceGetAttribute, &value,
			      WFS_CU_ABOUT_DMA_BUF, work->device) &&
	       value;
}

/* False: there is no way that the device sees it. */
static bool is_seen(const struct wfs_gpu_work *work, bool *ret_flushes)
{
	*ret_flushes = attribute(work, WFS_CU_ATTR_RDMA_ORDERING) <
		       WFS_CU_ORDERED_FOR_OWNER;
	return !*ret_flushes || attribute(work, WFS_CU_ATTR_RDMA_FLUSHES) &
					WFS_CU_FLUSHED_BY_HOST;
}

static int make(struct wfs_gpu_work *work, void **ret_ptr, int *ret_fd)
{
	const struct wfs_cuda *cuda = work->cuda;
	unsigned code =
		wfs_cuda_call(cuda, cudaMalloc, ret_ptr, WFS_GPU_FEED_RING);

	if (code)
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
				    "a ring");
	if ((uintptr_t)*ret_ptr % ALIGN)
		code = WFS_CU_NOT_SUPPORTED;
	else
		code = wfs_cuda_call(cuda, cuMemGetHandleForAddressRange,
				     ret_fd, (uintptr_t)*ret_ptr,
				     WFS_GPU_FEED_RING, WFS_CU_DMA_BUF_FD, 0);
	if (!code)
		return 0;
	wfs_cuda_call(cuda, cudaFree, *ret_ptr);
	return wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
			    "the export of a ring");
}

int wfs_gpu_share(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		  int *ret_fd)
{
	struct wfs_gpu_feeder *feeder;
	bool flushes;
	void *ptr;
	int rc = wfs_gpu_feeder_make(work, ask, &feeder);

	if (rc)
		return rc;
	if (!exports(work) || !is_seen(work, &flushes))
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE,
				      -EOPNOTSUPP,
				      "RDMA cannot write to this GPU");
	rc = make(work, &ptr, ret_fd);
	if (rc)
		return rc;
	feeder->ptr = (uintptr_t)ptr;
	feeder->flushes = flushes;
	feeder->id = ask->ring;
	work->answer->address = feeder->ptr;
	work->answer->memory_bytes = WFS_GPU_FEED_RING;
	return 0;
}
