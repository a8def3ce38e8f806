/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills, as the daemon has them: for whom, and by which helper.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/cuda/inner.h"

/* The client of that process, made if there is none; with the lock. */
static int client_get(struct wfs_cuda_device *dev,
		      const struct wfs_gpu_caller *caller,
		      struct wfs_gpu_helper *helper,
		      struct wfs_gpu_client **ret_client)
{
	struct wfs_gpu_client *client;
	int pidfd;

	for (client = dev->clients; client; client = client->next) {
		if (client->helper == helper &&
		    wfs_proc_same(&client->proc, &caller->proc)) {
			*ret_client = client;
			return 0;
		}
	}
	pidfd = wfs_proc_open(&caller->proc);
	if (pidfd < 0)
		return pidfd;
	client = wfs_calloc(1, sizeof(*client));
	client->id = dev->next_id++;
	client->proc = caller->proc;
	client->pidfd = pidfd;
	client->helper = helper;
	client->next = dev->clients;
	dev->clients = client;
	helper->clients++;
	wfs_gpu_wake(dev);
	*ret_client = client;
	return 0;
}

static void describe(const struct wfs_device_fill *fill,
		     struct wfs_gpu_request *ask)
{
	*ask = (struct wfs_gpu_request){
		.op = fill->feed ? WFS_GPU_BEGIN : WFS_GPU_FILL,
		.cookie = fill->cookie,
		.memory = fill->memory,
		.steady = fill->steady,
		.has_ready = fill->ready != NULL,
		.segment_count = (uint32_t)fill->segment_count,
		.memory_bytes = fill->memory_bytes,
		.file_bytes = fill->file_bytes,
	};
	memcpy(ask->handle, fill->handle, sizeof(ask->handle));
	memcpy(ask->segments, fill->segments,
	       fill->segment_count * sizeof(*ask->segments));
	if (fill->ready)
		memcpy(ask->ready, fill->ready, sizeof(ask->ready));
}

/*
 * The client that it is for is known to the watcher from before the copy on.
 * *ret_gone is the caller's, a pidfd of it.
 */
static int enlist(struct wfs_cuda_device *dev,
		  const struct wfs_gpu_caller *caller,
		  struct wfs_gpu_helper *helper, struct wfs_gpu_request *ask,
		  int *ret_gone)
{
	struct wfs_gpu_client *client;
	int rc;

	pthread_mutex_lock(&dev->lock);
	rc = client_get(dev, caller, helper, &client);
	if (!rc) {
		client->keeps |= ask->cookie != 0;
		ask->client = client->id;
		*ret_gone = fcntl(client->pidfd, F_DUPFD_CLOEXEC, 0);
	}
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

/* Nobody keeps a helper that cannot be started, on a GPU that there is not. */
static void dismiss(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper)
{
	struct wfs_gpu_client **at = &dev->clients;

	pthread_mutex_lock(&dev->lock);
	while (*at && !helper->starts) {
		if ((*at)->helper == helper)
			wfs_gpu_client_end(at);
		else
			at = &(*at)->next;
	}
	pthread_mutex_unlock(&dev->lock);
}

static int fill_as(struct wfs_cuda_device *dev,
		   const struct wfs_gpu_caller *caller,
		   const struct wfs_device_fill *fill,
		   struct wfs_gpu_talk *talk, struct wfs_device_fault *fault,
		   struct wfs_err *err)
{
	struct wfs_gpu_helper *helper;
	int rc = wfs_gpu_helper_get(dev, caller, &fill->device, false, &helper);

	if (rc)
		return wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, rc,
				   rc == -ESRCH ? "the caller is gone" :
						  "too many GPU helpers");
	rc = enlist(dev, caller, helper, talk->ask, talk->gone);
	if (rc)
		wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, rc,
			    "the caller is gone");
	else if (fill->feed)
		rc = wfs_gpu_fill_fed(dev, helper, fill, talk, fault, err);
	else
		rc = wfs_gpu_ask_when_ready(dev, helper, talk, fault, err);
	if (rc)
		dismiss(dev, helper);
	wfs_gpu_helper_put(dev, helper);
	return rc ? rc : wfs_gpu_answer_result(&talk->answer, fault, err);
}

int wfs_gpu_fill_memory(struct wfs_device *base,
			const struct wfs_device_fill *fill,
			struct wfs_device_filled *ret_filled,
			struct wfs_device_fault *fault, struct wfs_err *err)
{
	struct wfs_cuda_device *dev = (struct wfs_cuda_device *)base;
	struct wfs_gpu_request ask;
	int gone wfs_autoclose = -1;
	struct wfs_gpu_talk talk = { .ask = &ask,
				     .fds = { fill->fd, -1 },
				     .gone = &gone,
				     .deadline_ns = fill->deadline_ns,
				     .stop = fill->stop };
	struct wfs_gpu_caller caller;
	int rc = wfs_gpu_caller_find(&fill->caller, &caller);

	if (rc)
		return wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, rc,
				   "the caller is gone");
	rc = wfs_gpu_admit(dev, &caller, fill->memory);
	if (rc)
		rc = wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, rc,
				 "no GPU helper can be had as the caller");
	if (!rc)
		rc = wfs_gpu_look(dev, fault, err);
	if (!rc) {
		describe(fill, &ask);
		if (wfs_device_by_descriptor(fill->memory))
			talk.fds.memory = fill->memory_fd;
		rc = fill_as(dev, &caller, fill, &talk, fault, err);
	}
	wfs_gpu_caller_clear(&caller);
	if (!rc)
		*ret_filled = (struct wfs_device_filled){
			.bytes = talk.answer.bytes,
			.path = talk.answer.path,
		};
	return rc;
}
