/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See device.h: who calls, for whom a helper works, and the fills.
 */
#include "transport/cuda/device.h"

#include <errno.h>
#include <fcntl.h>
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

static void describe(const struct wfs_device_fill *fill,
		     struct wfs_gpu_request *ask)
{
	*ask = (struct wfs_gpu_request){
		.op = WFS_GPU_FILL,
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
	else
		rc = wfs_gpu_helper_ask(dev, helper, talk, fault, err);
	if (rc)
		dismiss(dev, helper);
	wfs_gpu_helper_put(dev, helper);
	return rc ? rc : wfs_gpu_answer_result(&talk->answer, fault, err);
}

bool wfs_gpu_is_beyond(const struct wfs_cuda_device *dev,
		       const struct wfs_gpu_caller *caller, uint32_t memory)
{
	return memory == WFS_DEVICE_CUDA_IPC && caller->pidns != dev->own_pidns;
}

/* May a helper be had as this caller? */
static int admit(const struct wfs_cuda_device *dev,
		 const struct wfs_gpu_caller *caller, uint32_t memory)
{
	if (geteuid() == 0)
		return 0;
	if (caller->uid != geteuid())
		return -EPERM;
	return wfs_gpu_is_beyond(dev, caller, memory) ? -EXDEV : 0;
}

static int fill(struct wfs_device *base, const struct wfs_device_fill *fill,
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
	rc = admit(dev, &caller, fill->memory);
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
	free(dev);
}

static const struct wfs_device_ops ops = {
	.info = info,
	.fill = fill,
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
