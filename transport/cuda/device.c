/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See device.h: who calls, and for whom a helper works.
 */
#include "transport/cuda/device.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/cond.h"
#include "core/base/mem.h"
#include "transport/cuda/inner.h"

int wfs_gpu_caller_find(const struct wfs_device_caller *who,
			struct wfs_gpu_caller *ret_caller)
{
	struct wfs_gpu_caller caller = { .uid = who->uid, .gid = who->gid };
	int rc = wfs_proc_find(who->pid, &caller.proc);

	if (rc)
		return rc;
	caller.pidns = wfs_proc_namespace(caller.proc.tgid, "pid");
	if (!caller.pidns)
		return -ESRCH;
	caller.cgroup = wfs_proc_cgroup(caller.proc.tgid);
	caller.groups = wfs_proc_status(caller.proc.tgid, "Groups");
	*ret_caller = caller;
	return 0;
}

void wfs_gpu_caller_clear(struct wfs_gpu_caller *caller)
{
	free(caller->cgroup);
	free(caller->groups);
	*caller = (struct wfs_gpu_caller){ 0 };
}

void wfs_gpu_client_end(struct wfs_gpu_client **at)
{
	struct wfs_gpu_client *client = *at;
	struct wfs_gpu_helper *helper = client->helper;

	*at = client->next;
	close(client->pidfd);
	if (client->keeps && helper->clients > 1) {
		helper->forget = wfs_realloc(helper->forget,
					     (helper->forget_count + 1) *
						     sizeof(*helper->forget));
		helper->forget[helper->forget_count++] = client->id;
	}
	free(client);
	helper->clients--;
}

int wfs_gpu_say(struct wfs_device_fault *fault, enum wfs_device_stage stage,
		struct wfs_err *err, int rc, const char *why)
{
	*fault = (struct wfs_device_fault){ .stage = stage };
	return wfs_err_set(err, rc, "%s", why);
}

bool wfs_gpu_is_beyond(const struct wfs_cuda_device *dev,
		       const struct wfs_gpu_caller *caller, uint32_t memory)
{
	return memory == WFS_DEVICE_CUDA_IPC && caller->pidns != dev->own_pidns;
}

int wfs_gpu_admit(const struct wfs_cuda_device *dev,
		  const struct wfs_gpu_caller *caller, uint32_t memory)
{
	if (geteuid() == 0)
		return 0;
	if (caller->uid != geteuid())
		return -EPERM;
	return wfs_gpu_is_beyond(dev, caller, memory) ? -EXDEV : 0;
}

static int info(struct wfs_device *base, const struct wfs_device_caller *caller,
		struct wfs_device_info *ret_info)
{
	struct wfs_cuda_device *dev = (struct wfs_cuda_device *)base;
	struct wfs_device_info info = { 0 };

	info.devices = atomic_load(&dev->devices);
	info.fills = info.devices &&
		     (geteuid() == 0 || caller->uid == geteuid());
	info.lends = info.devices && wfs_gpu_may_borrow(dev, caller->uid);
	*ret_info = info;
	return 0;
}

/* Every helper that has worked for the process; -ENOENT: none kept that. */
static int drop_cookie(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		       uint64_t cookie)
{
	struct wfs_gpu_request ask = { .op = WFS_GPU_FORGET, .cookie = cookie };
	struct wfs_gpu_talk talk = { .ask = &ask, .fds = { -1, -1 } };
	uint64_t last = UINT64_MAX;
	int rc = -ENOENT;

	for (;;) {
		struct wfs_gpu_client *client;
		struct wfs_gpu_helper *helper = NULL;
		struct wfs_device_fault fault;

		pthread_mutex_lock(&dev->lock);
		/* New ones come first, so that ids only become less. */
		for (client = dev->clients; client; client = client->next) {
			if (client->id < last && client->keeps &&
			    client->helper->process.pid &&
			    wfs_proc_same(&client->proc, proc))
				break;
		}
		if (client) {
			last = ask.client = client->id;
			helper = client->helper;
			helper->users++;
		}
		pthread_mutex_unlock(&dev->lock);
		if (!helper)
			return rc;
		talk.deadline_ns = wfs_now_ns() + WFS_GPU_TIDY_NS;
		if (wfs_gpu_helper_ask(dev, helper, &talk, &fault, NULL) == 0 &&
		    talk.answer.status == 0)
			rc = 0;
		wfs_gpu_helper_put(dev, helper);
	}
}

static int descriptor(struct wfs_device *base,
		      const struct wfs_device_caller *caller, uint64_t lease,
		      int *ret_fd, uint64_t *ret_bytes)
{
	struct wfs_cuda_device *dev = (struct wfs_cuda_device *)base;
	struct wfs_proc proc;
	int rc = wfs_proc_find(caller->pid, &proc);

	return rc ? rc :
		    wfs_gpu_descriptor(dev, &proc, lease, ret_fd, ret_bytes);
}

static int drop(struct wfs_device *base, const struct wfs_device_caller *caller,
		uint64_t lease, uint64_t cookie)
{
	struct wfs_cuda_device *dev = (struct wfs_cuda_device *)base;
	struct wfs_proc proc;
	int rc = wfs_proc_find(caller->pid, &proc);

	if (!rc && lease)
		rc = wfs_gpu_return(dev, &proc, lease);
	if (!rc && cookie)
		rc = drop_cookie(dev, &proc, cookie);
	return rc;
}

/* No call is under way: whatever is left belongs to readers. */
static void close_device(struct wfs_device *base)
{
	struct wfs_cuda_device *dev = (struct wfs_cuda_device *)base;

	pthread_mutex_lock(&dev->lock);
	dev->ending = true;
	pthread_mutex_unlock(&dev->lock);
	wfs_gpu_wake(dev);
	pthread_join(dev->watcher, NULL);
	close(dev->wake);
	pthread_cond_destroy(&dev->made);
	pthread_mutex_destroy(&dev->lock);
	pthread_mutex_destroy(&dev->count_lock);
	free(dev->lend_to);
	free(dev->dead);
	free(dev->rings);
	free(dev);
}

static const struct wfs_device_ops ops = {
	.info = info,
	.fill = wfs_gpu_fill_memory,
	.lend = wfs_gpu_lend,
	.descriptor = descriptor,
	.drop = drop,
	.close = close_device,
};

int wfs_cuda_device_look(struct wfs_device *dev, struct wfs_err *err)
{
	return wfs_gpu_look((struct wfs_cuda_device *)dev, NULL, err);
}

int wfs_cuda_device_open(const struct wfs_cuda_config *config,
			 struct wfs_device **ret_dev, struct wfs_err *err)
{
	struct wfs_cuda_device *dev = wfs_calloc(1, sizeof(*dev));
	uid_t self = geteuid();
	const uid_t *to = config->lend_to ? config->lend_to : &self;
	int rc;

	dev->base.ops = &ops;
	dev->keep_ns = config->keep_ns;
	dev->keep_files_ns = config->keep_files_ns;
	dev->lend_to_count = config->lend_to ? config->lend_to_count : 1;
	dev->lend_to = wfs_calloc(dev->lend_to_count + 1, sizeof(*to));
	memcpy(dev->lend_to, to, dev->lend_to_count * sizeof(*to));
	dev->own_pidns = wfs_proc_namespace(getpid(), "pid");
	dev->next_id = 1;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_mutex_init(&dev->count_lock, NULL);
	wfs_cond_init(&dev->made);
	dev->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = dev->wake < 0 ? -errno : wfs_gpu_watch(dev);
	if (rc) {
		if (dev->wake >= 0)
			close(dev->wake);
		free(dev->lend_to);
		free(dev);
		return wfs_err_set(err, rc, "cannot watch readers of GPUs: %s",
				   strerror(-rc));
	}
	*ret_dev = &dev->base;
	return 0;
}
