/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for GPUs: by a process of its own, since CUDA stays out of this one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "transport/cuda/inner.h"

#define SECOND_NS     1000000000ull
#define LOOK_NS	      (20 * SECOND_NS) /* what a look may take */
#define LOOK_AGAIN_NS (60 * SECOND_NS)

/* Asks a process that takes no device and ends again. */
static int look_now(struct wfs_cuda_device *dev)
{
	const struct wfs_gpu_person self = { .uid = geteuid(),
					     .gid = getegid(),
					     .pidns = -1 };
	struct wfs_gpu_request ask = { .op = WFS_GPU_COUNT };
	struct wfs_gpu_answer answer = { 0 };
	struct wfs_gpu_process process;
	int rc = wfs_gpu_start(&self, &process);

	if (rc)
		return rc;
	rc = wfs_gpu_ask(&process, &ask, (struct wfs_gpu_fds){ -1, -1 },
			 WFS_GPU_UNTIL(wfs_now_ns() + LOOK_NS), &answer, NULL);
	pthread_mutex_lock(&dev->lock);
	wfs_gpu_helper_kill_locked(dev, &process);
	pthread_mutex_unlock(&dev->lock);
	if (!rc)
		rc = answer.status;
	atomic_store(&dev->devices, rc ? 0 : answer.devices);
	snprintf(dev->count_why, sizeof(dev->count_why), "%s",
		 answer.status ? answer.text : strerror(-rc));
	return rc;
}

int wfs_gpu_look(struct wfs_cuda_device *dev, struct wfs_device_fault *fault,
		 struct wfs_err *err)
{
	uint64_t now;
	int rc;

	pthread_mutex_lock(&dev->count_lock);
	now = wfs_now_ns();
	/* A driver may come at any time; what is there stays. */
	if (!dev->counted_ns ||
	    (dev->count_rc && now - dev->counted_ns > LOOK_AGAIN_NS)) {
		dev->count_rc = look_now(dev);
		dev->counted_ns = now;
	}
	rc = dev->count_rc;
	if (rc)
		wfs_err_set(err, -ENXIO, "no GPU on this node: %s",
			    dev->count_why);
	pthread_mutex_unlock(&dev->count_lock);
	if (rc && fault)
		*fault = (struct wfs_device_fault){
			.stage = WFS_DEVICE_STAGE_DEVICE
		};
	return rc ? -ENXIO : 0;
}
