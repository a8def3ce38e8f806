/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which helpers there are, and asking them: one that hangs is killed, one that
 * died is started anew by the next who needs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cond.h"
#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "transport/cuda/inner.h"

static bool same_device(const struct wfs_device_id *a,
			const struct wfs_device_id *b)
{
	if (a->by != b->by)
		return false;
	switch (a->by) {
	case WFS_DEVICE_ANY:
		return true;
	case WFS_DEVICE_PCI:
		return a->domain == b->domain && a->bus == b->bus &&
		       a->device == b->device && a->function == b->function;
	case WFS_DEVICE_GPU_UUID:
	case WFS_DEVICE_MIG_UUID:
		break;
	}
	return memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0;
}

static bool is_of(const struct wfs_gpu_helper *helper,
		  const struct wfs_gpu_caller *person,
		  const struct wfs_device_id *device, bool lends)
{
	if (helper->lends != lends || !same_device(&helper->device, device))
		return false;
	/* All who may borrow share what is lent. */
	return lends || (helper->person.uid == person->uid &&
			 helper->person.gid == person->gid &&
			 helper->person.pidns == person->pidns &&
			 wfs_text_same(helper->person.cgroup, person->cgroup) &&
			 wfs_text_same(helper->person.groups, person->groups));
}

static struct wfs_gpu_helper *add_helper(struct wfs_cuda_device *dev,
					 const struct wfs_gpu_caller *person,
					 const struct wfs_device_id *device,
					 bool lends, int pidns)
{
	struct wfs_gpu_helper *helper = wfs_calloc(1, sizeof(*helper));

	helper->person = *person;
	helper->person.cgroup = wfs_strdup_or_null(person->cgroup);
	helper->person.groups = wfs_strdup_or_null(person->groups);
	helper->pidns = pidns;
	helper->device = *device;
	helper->lends = lends;
	wfs_cond_init(&helper->freed);
	helper->next = dev->helpers;
	dev->helpers = helper;
	dev->helper_count++;
	return helper;
}

/* -1 for our own: the descriptor of another, while its process is there. */
static int open_pidns(const struct wfs_cuda_device *dev,
		      const struct wfs_gpu_caller *person, int *ret_fd)
{
	int fd wfs_autoclose = -1;
	char path[64];
	struct stat st;

	/* Who is not root enters none; a descriptor needs none. */
	if (person->pidns != dev->own_pidns && geteuid() == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/pid",
			 person->proc.tgid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) != 0 || st.st_ino != person->pidns)
			return -ESRCH;
	}
	*ret_fd = wfs_steal_fd(&fd);
	return 0;
}

int wfs_gpu_helper_get(struct wfs_cuda_device *dev,
		       const struct wfs_gpu_caller *person,
		       const struct wfs_device_id *device, bool lends,
		       struct wfs_gpu_helper **ret_helper)
{
	struct wfs_gpu_helper *helper;
	int pidns, rc = 0;

	pthread_mutex_lock(&dev->lock);
	for (helper = dev->helpers; helper; helper = helper->next) {
		if (is_of(helper, person, device, lends))
			break;
	}
	if (!helper && dev->helper_count == WFS_GPU_HELPERS_MAX)
		rc = -EBUSY;
	if (!helper && !rc)
		rc = open_pidns(dev, person, &pidns);
	if (!helper && !rc)
		helper = add_helper(dev, person, device, lends, pidns);
	if (!rc) {
		helper->users++;
		*ret_helper = helper;
	}
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

void wfs_gpu_helper_kill_locked(struct wfs_cuda_device *dev,
				struct wfs_gpu_process *process)
{
	struct wfs_landing_ring *ring = wfs_steal_ptr(&process->ring);
	pid_t left = wfs_gpu_kill(process);

	if (ring) {
		wfs_landing_ring_end(ring);
		/* To let go of it may take what carries bytes there a while. */
		dev->rings = wfs_realloc(dev->rings,
					 (dev->ring_count + 1) * sizeof(ring));
		dev->rings[dev->ring_count++] = ring;
		wfs_gpu_wake(dev);
	}
	if (!left)
		return;
	dev->dead = wfs_realloc(dev->dead,
				(dev->dead_count + 1) * sizeof(*dev->dead));
	dev->dead[dev->dead_count++] = left;
	wfs_gpu_wake(dev);
}

void wfs_gpu_helper_end_unused(struct wfs_cuda_device *dev,
			       struct wfs_gpu_helper *helper)
{
	struct wfs_gpu_helper **at = &dev->helpers;

	if (helper->users || helper->clients || helper->copies)
		return;
	wfs_gpu_rooms_end(dev, helper);
	while (*at != helper)
		at = &(*at)->next;
	*at = helper->next;
	dev->helper_count--;
	wfs_gpu_helper_kill_locked(dev, &helper->process);
	wfs_gpu_caller_clear(&helper->person);
	wfs_closep(&helper->pidns);
	pthread_cond_destroy(&helper->freed);
	free(helper->forget);
	free(helper);
}

void wfs_gpu_helper_check(struct wfs_cuda_device *dev,
			  struct wfs_gpu_helper *helper)
{
	struct pollfd end = { .fd = helper->process.socket, .events = POLLIN };

	/* Who has it busy hears of it first; it says nothing unasked. */
	if (helper->busy || !helper->process.pid || poll(&end, 1, 0) <= 0)
		return;
	wfs_warn("a GPU helper of user %u ended", helper->person.uid);
	wfs_gpu_helper_kill_locked(dev, &helper->process);
	helper->forget_count = 0;
}

void wfs_gpu_helper_put(struct wfs_cuda_device *dev,
			struct wfs_gpu_helper *helper)
{
	pthread_mutex_lock(&dev->lock);
	helper->users--;
	wfs_gpu_helper_end_unused(dev, helper);
	pthread_mutex_unlock(&dev->lock);
}

int wfs_gpu_answer_result(const struct wfs_gpu_answer *answer,
			  struct wfs_device_fault *fault, struct wfs_err *err)
{
	if (!answer->status)
		return 0;
	fault->stage = answer->stage;
	fault->cuda_err = answer->cuda_err;
	return wfs_err_set(err, answer->status, "gpu helper: %s", answer->text);
}

static int failed(struct wfs_device_fault *fault, enum wfs_device_stage stage,
		  struct wfs_err *err, int rc)
{
	*fault = (struct wfs_device_fault){ .stage = stage };
	return wfs_err_set(err, rc, "gpu helper: %s",
			   rc == -ETIMEDOUT ? "the deadline passed" :
			   rc == -EIO ? "it ended in the middle of a request" :
					strerror(-rc));
}

/* Only who has it busy; started, and with its device taken. */
static int start(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		 struct wfs_gpu_talk *talk, struct wfs_device_fault *fault,
		 struct wfs_err *err)
{
	struct wfs_gpu_request hello = { .op = WFS_GPU_HELLO,
					 .device = helper->device,
					 .keep_ns = dev->keep_files_ns };
	const struct wfs_gpu_person person = {
		.uid = helper->person.uid,
		.gid = helper->person.gid,
		.groups = helper->person.groups,
		.pidns = helper->pidns,
		.cgroup = helper->lends ? NULL : helper->person.cgroup,
		.device = helper->device,
	};
	struct wfs_gpu_process process;
	int rc = wfs_gpu_start(&person, &process);

	if (rc)
		return failed(fault, WFS_DEVICE_STAGE_DEVICE, err, rc);
	rc = wfs_gpu_ask(&process, &hello, (struct wfs_gpu_fds){ -1, -1 },
			 WFS_GPU_UNTIL(talk->deadline_ns), &talk->answer, NULL);
	pthread_mutex_lock(&dev->lock);
	if (rc || talk->answer.status) {
		wfs_gpu_helper_kill_locked(dev, &process);
	} else {
		helper->process = process;
		helper->starts++;
	}
	pthread_mutex_unlock(&dev->lock);
	return rc ? failed(fault, WFS_DEVICE_STAGE_DEVICE, err, rc) :
		    wfs_gpu_answer_result(&talk->answer, fault, err);
}

/* Until it is ours alone: -ETIMEDOUT. */
static int occupy(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		  uint64_t deadline_ns)
{
	bool mine;

	pthread_mutex_lock(&dev->lock);
	while (helper->busy &&
	       wfs_cond_wait_until(&helper->freed, &dev->lock, deadline_ns))
		;
	mine = !helper->busy;
	helper->busy = true;
	pthread_mutex_unlock(&dev->lock);
	return mine ? 0 : -ETIMEDOUT;
}

/* With the lock; a helper that was asked in vain is ended. */
static void ended(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		  int rc, const struct wfs_gpu_answer *answer)
{
	if (rc || answer->ends)
		wfs_gpu_helper_kill_locked(dev, &helper->process);
}

/* With the lock and busy: what died clients had is forgotten, now. */
static void forget_dead(struct wfs_cuda_device *dev,
			struct wfs_gpu_helper *helper)
{
	while (helper->forget_count && helper->process.pid) {
		struct wfs_gpu_request ask = {
			.op = WFS_GPU_FORGET,
			.client = helper->forget[--helper->forget_count],
		};
		struct wfs_gpu_answer answer = { 0 };
		int rc;

		pthread_mutex_unlock(&dev->lock);
		rc = wfs_gpu_ask(&helper->process, &ask,
				 (struct wfs_gpu_fds){ -1, -1 },
				 WFS_GPU_UNTIL(wfs_now_ns() + WFS_GPU_TIDY_NS),
				 &answer, NULL);
		pthread_mutex_lock(&dev->lock);
		ended(dev, helper, rc, &answer);
	}
	helper->forget_count = 0;
}

/* With the lock. */
static void release(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper)
{
	forget_dead(dev, helper);
	helper->busy = false;
	pthread_cond_signal(&helper->freed);
	/* From now on its death is the watcher's to see. */
	wfs_gpu_wake(dev);
}

void wfs_gpu_helper_tidy(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper)
{
	if (helper->busy)
		return; /* who has it busy sees to it */
	helper->busy = true;
	release(dev, helper);
}

/* Is what it is about lost, with the life of a helper that ended since? */
static bool is_over(const struct wfs_gpu_helper *helper,
		    const struct wfs_gpu_talk *talk)
{
	return talk->life && *talk->life &&
	       (!helper->process.pid || *talk->life != helper->starts);
}

/* Only who has it busy. */
static int ask_it(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		  struct wfs_gpu_talk *talk, struct wfs_device_fault *fault,
		  struct wfs_err *err)
{
	const struct wfs_gpu_patience patience = {
		.deadline_ns = talk->deadline_ns,
		.ends = { talk->gone ? *talk->gone : -1,
			  talk->stop ? *talk->stop : -1 },
	};
	int rc = 0;

	if (!helper->process.pid)
		rc = start(dev, helper, talk, fault, err);
	if (rc)
		return rc;
	if (talk->life)
		*talk->life = helper->starts;
	rc = wfs_gpu_ask(&helper->process, talk->ask, talk->fds, &patience,
			 &talk->answer, talk->ret_fd);
	return rc ? failed(fault, WFS_DEVICE_STAGE_COPY, err, rc) : 0;
}

int wfs_gpu_helper_ask(struct wfs_cuda_device *dev,
		       struct wfs_gpu_helper *helper, struct wfs_gpu_talk *talk,
		       struct wfs_device_fault *fault, struct wfs_err *err)
{
	int rc = occupy(dev, helper, talk->deadline_ns);
	bool over;

	if (rc)
		return failed(fault, WFS_DEVICE_STAGE_DEVICE, err, rc);
	over = is_over(helper, talk);
	rc = over ? failed(fault, WFS_DEVICE_STAGE_COPY, err, -EIO) :
		    ask_it(dev, helper, talk, fault, err);
	pthread_mutex_lock(&dev->lock);
	if (!over)
		ended(dev, helper, rc, &talk->answer);
	release(dev, helper);
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

void wfs_gpu_helper_fell(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper, unsigned life)
{
	pthread_mutex_lock(&dev->lock);
	if (helper->process.pid && helper->starts == life) {
		/* Who has it busy sees that it ended; else the watcher. */
		kill(helper->process.pid, SIGKILL);
		wfs_gpu_wake(dev);
	}
	pthread_mutex_unlock(&dev->lock);
}
