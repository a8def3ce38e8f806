/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is lent: one copy of a tensor on each GPU, made by a helper of
 * the daemon's own user.
 *
 * Memory that a descriptor stands for stays as long as anybody has it open,
 * whatever we do, so that giving it back is enough.  A handle of the legacy kind
 * keeps nothing: such memory is freed only when every process that ever had the
 * handle is gone.
 */
#include <errno.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/mem.h"
#include "transport/cuda/inner.h"

static const char beyond[] = "a handle means nothing in another pid namespace";

bool wfs_gpu_may_borrow(const struct wfs_cuda_device *dev, uid_t uid)
{
	for (size_t i = 0; i < dev->lend_to_count; i++) {
		if (dev->lend_to[i] == uid)
			return true;
	}
	return false;
}

/* Has the helper that made it gone on since? */
static bool is_live(const struct wfs_gpu_lent *lent)
{
	return lent->making || (lent->helper->process.pid &&
				lent->helper->starts == lent->starts);
}

static struct wfs_gpu_lent *find_lent(struct wfs_cuda_device *dev,
				      const struct wfs_gpu_helper *helper,
				      const struct wfs_device_want *want)
{
	struct wfs_gpu_lent *lent;

	for (lent = dev->lent; lent; lent = lent->next) {
		if (lent->helper == helper && lent->key[0] == want->key[0] &&
		    lent->key[1] == want->key[1] &&
		    lent->file_bytes == want->file_bytes &&
		    (!want->memory || lent->memory == want->memory) &&
		    is_live(lent))
			return lent;
	}
	return NULL;
}

static struct wfs_gpu_lent *add_lent(struct wfs_cuda_device *dev,
				     struct wfs_gpu_helper *helper,
				     const struct wfs_device_want *want)
{
	struct wfs_gpu_lent *lent = wfs_calloc(1, sizeof(*lent));

	lent->id = dev->next_id++;
	lent->key[0] = want->key[0];
	lent->key[1] = want->key[1];
	lent->file_bytes = want->file_bytes;
	lent->helper = helper;
	lent->making = true;
	lent->memory = want->memory;
	lent->fd = -1;
	lent->next = dev->lent;
	dev->lent = lent;
	helper->copies++;
	return lent;
}

/* With the lock.  The helper may go with it. */
static void remove_lent(struct wfs_cuda_device *dev, struct wfs_gpu_lent *lent)
{
	struct wfs_gpu_lent **at = &dev->lent;

	while (*at && *at != lent)
		at = &(*at)->next;
	if (*at)
		*at = lent->next;
	lent->helper->copies--;
	wfs_gpu_helper_end_unused(dev, lent->helper);
	wfs_closep(&lent->fd);
	free(lent);
}

static int make_once(struct wfs_cuda_device *dev, struct wfs_gpu_lent *lent,
		     const struct wfs_device_want *want,
		     struct wfs_device_fault *fault, struct wfs_err *err)
{
	int fd wfs_autoclose = -1;
	struct wfs_gpu_request ask = { .op = WFS_GPU_MAKE,
				       .copy = lent->id,
				       .memory = want->memory,
				       .steady = want->steady,
				       .file_bytes = want->file_bytes };
	struct wfs_gpu_talk talk = { .ask = &ask,
				     .fds = { want->fd, -1 },
				     .deadline_ns = want->deadline_ns,
				     .ret_fd = &fd };
	int rc = wfs_gpu_helper_ask(dev, lent->helper, &talk, fault, err);

	if (!rc)
		rc = wfs_gpu_answer_result(&talk.answer, fault, err);
	if (rc)
		return rc;
	pthread_mutex_lock(&dev->lock);
	lent->memory = talk.answer.memory;
	lent->memory_bytes = talk.answer.memory_bytes;
	memcpy(lent->handle, talk.answer.handle, sizeof(lent->handle));
	lent->fd = wfs_steal_fd(&fd);
	lent->starts = lent->helper->starts;
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

/* What nobody has a lease of makes way for what somebody wants. */
static int make(struct wfs_cuda_device *dev, struct wfs_gpu_lent *lent,
		const struct wfs_device_want *want,
		struct wfs_device_fault *fault, struct wfs_err *err)
{
	int rc = make_once(dev, lent, want, fault, err);

	if (rc != -ENOMEM)
		return rc;
	pthread_mutex_lock(&dev->lock);
	wfs_gpu_free_idle(dev, UINT64_MAX);
	pthread_mutex_unlock(&dev->lock);
	return make_once(dev, lent, want, fault, err);
}

uint64_t wfs_gpu_free_idle(struct wfs_cuda_device *dev, uint64_t now)
{
	struct wfs_gpu_lent *lent = dev->lent;
	uint64_t next = UINT64_MAX;

	while (lent) {
		struct wfs_gpu_request ask = { .op = WFS_GPU_UNMAKE,
					       .copy = lent->id };
		struct wfs_gpu_talk talk = { .ask = &ask, .fds = { -1, -1 } };
		struct wfs_gpu_helper *helper = lent->helper;
		struct wfs_device_fault fault;
		uint64_t until = lent->idle_ns + dev->keep_ns;

		if (lent->making || lent->leases || until > now) {
			if (!lent->making && !lent->leases && until < next)
				next = until;
			lent = lent->next;
			continue;
		}
		if (is_live(lent)) {
			/* Nobody finds it from here on. */
			lent->making = true;
			lent->file_bytes = 0;
			pthread_mutex_unlock(&dev->lock);
			talk.deadline_ns = wfs_now_ns() + WFS_GPU_TIDY_NS;
			wfs_gpu_helper_ask(dev, helper, &talk, &fault, NULL);
			pthread_mutex_lock(&dev->lock);
		}
		remove_lent(dev, lent);
		lent = dev->lent; /* others may have gone meanwhile */
	}
	return next;
}

/* With the lock.  A copy that is there, or one that is ours to make. */
static struct wfs_gpu_lent *settle(struct wfs_cuda_device *dev,
				   struct wfs_gpu_helper *helper,
				   const struct wfs_device_want *want,
				   bool *ret_ours)
{
	for (;;) {
		struct wfs_gpu_lent *lent = find_lent(dev, helper, want);

		*ret_ours = !lent;
		if (!lent)
			return add_lent(dev, helper, want);
		if (!lent->making)
			return lent;
		if (!wfs_cond_wait_until(&dev->made, &dev->lock,
					 want->deadline_ns))
			return NULL;
	}
}

/* With the lock. */
static int hand_out(struct wfs_cuda_device *dev,
		    const struct wfs_gpu_caller *caller,
		    struct wfs_gpu_lent *lent, struct wfs_device_lent *ret_lent)
{
	struct wfs_gpu_lease *lease;
	int fd wfs_autoclose = -1;
	int rc;

	if (wfs_gpu_is_beyond(dev, caller, lent->memory))
		return -EXDEV;
	rc = wfs_gpu_copy_descriptor(lent, &fd);
	if (rc && rc != -EOPNOTSUPP)
		return rc;
	rc = wfs_gpu_lease_add(dev, &caller->proc, lent, &lease);
	if (rc)
		return rc;
	*ret_lent = (struct wfs_device_lent){
		.lease = lease->id,
		.memory = lent->memory,
		.memory_fd = wfs_steal_fd(&fd),
		.memory_bytes = lent->memory_bytes,
	};
	memcpy(ret_lent->handle, lent->handle, sizeof(lent->handle));
	return 0;
}

static int lend_from(struct wfs_cuda_device *dev,
		     const struct wfs_gpu_caller *caller,
		     struct wfs_gpu_helper *helper,
		     const struct wfs_device_want *want,
		     struct wfs_device_lent *ret_lent,
		     struct wfs_device_fault *fault, struct wfs_err *err)
{
	struct wfs_gpu_lent *lent;
	bool ours;
	int rc = 0;

	pthread_mutex_lock(&dev->lock);
	wfs_gpu_helper_check(dev, helper);
	lent = settle(dev, helper, want, &ours);
	if (ours) {
		pthread_mutex_unlock(&dev->lock);
		rc = make(dev, lent, want, fault, err);
		pthread_mutex_lock(&dev->lock);
		lent->making = false;
		lent->idle_ns = wfs_now_ns();
		pthread_cond_broadcast(&dev->made);
		if (rc)
			remove_lent(dev, lent);
	} else if (!lent) {
		rc = wfs_gpu_say(
			fault, WFS_DEVICE_STAGE_COPY, err, -ETIMEDOUT,
			"the deadline passed while another made the copy");
	}
	if (!rc) {
		rc = hand_out(dev, caller, lent, ret_lent);
		if (rc)
			wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, rc,
				    rc == -EXDEV ? beyond :
						   "no lease can be had");
		wfs_gpu_wake(dev); /* an unused copy is kept for a while */
	}
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

static int lend_as(struct wfs_cuda_device *dev,
		   const struct wfs_gpu_caller *caller,
		   const struct wfs_device_want *want,
		   struct wfs_device_lent *ret_lent,
		   struct wfs_device_fault *fault, struct wfs_err *err)
{
	const struct wfs_gpu_caller self = { .proc.tgid = getpid(),
					     .uid = geteuid(),
					     .gid = getegid(),
					     .pidns = dev->own_pidns };
	struct wfs_gpu_helper *helper;
	int rc;

	if (!wfs_gpu_may_borrow(dev, caller->uid))
		return wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, -EACCES,
				   "memory is not lent to this user");
	rc = wfs_gpu_look(dev, fault, err);
	if (rc)
		return rc;
	/* Not only when it is made, for nobody. */
	if (wfs_gpu_is_beyond(dev, caller, want->memory))
		return wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, -EXDEV,
				   beyond);
	rc = wfs_gpu_helper_get(dev, &self, &want->device, true, &helper);
	if (rc)
		return wfs_gpu_say(fault, WFS_DEVICE_STAGE_DEVICE, err, rc,
				   "too many GPU helpers");
	rc = lend_from(dev, caller, helper, want, ret_lent, fault, err);
	wfs_gpu_helper_put(dev, helper);
	return rc;
}

int wfs_gpu_lend(struct wfs_device *base, const struct wfs_device_want *want,
		 struct wfs_device_lent *ret_lent,
		 struct wfs_device_fault *fault, struct wfs_err *err)
{
	struct wfs_cuda_device *dev = (struct wfs_cuda_device *)base;
	struct wfs_gpu_caller caller;
	int rc = wfs_gpu_caller_find(&want->caller, &caller);

	if (rc)
		return wfs_gpu_say(fault, WFS_DEVICE_STAGE_AUTH, err, rc,
				   "the caller is gone");
	rc = lend_as(dev, &caller, want, ret_lent, fault, err);
	wfs_gpu_caller_clear(&caller);
	return rc;
}
