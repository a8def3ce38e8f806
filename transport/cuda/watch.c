/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that sees readers and helpers die: what a process had ends with
 * it, whether it said so or not.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>

#include "core/base/mem.h"
#include "transport/cuda/inner.h"

#define NS_PER_MS 1000000u
#define DEAD_MS	  20  /* between looks at what was killed */
#define END_LOOKS 250 /* … at most, at the end */

void wfs_gpu_wake(struct wfs_cuda_device *dev)
{
	eventfd_write(dev->wake, 1);
}

static bool has_ended(int pidfd)
{
	struct pollfd one = { .fd = pidfd, .events = POLLIN };

	return poll(&one, 1, 0) > 0;
}

/* With the lock, which it lets go of in between. */
static void tidy_helpers(struct wfs_cuda_device *dev)
{
	struct wfs_gpu_helper *helper = dev->helpers;

	if (helper)
		helper->users++;
	while (helper) {
		struct wfs_gpu_helper *next;

		if (helper->forget_count)
			wfs_gpu_helper_tidy(dev, helper);
		wfs_gpu_helper_check(dev, helper);
		next = helper->next;
		if (next)
			next->users++;
		helper->users--;
		wfs_gpu_helper_end_unused(dev, helper);
		helper = next;
	}
}

/* With the lock. */
static void end_what_died(struct wfs_cuda_device *dev, bool all)
{
	struct wfs_gpu_client **at = &dev->clients;
	struct wfs_gpu_lease *lease = dev->leases;

	while (*at) {
		if (all || has_ended((*at)->pidfd))
			wfs_gpu_client_end(at);
		else
			at = &(*at)->next;
	}
	while (lease) {
		struct wfs_gpu_lease *next = lease->next;

		if (all || has_ended(lease->pidfd))
			wfs_gpu_lease_end(dev, lease);
		lease = next;
	}
}

/* With the lock. */
static void wait_for_dead(struct wfs_cuda_device *dev)
{
	size_t left = 0;

	for (size_t i = 0; i < dev->dead_count; i++) {
		if (waitpid(dev->dead[i], NULL, WNOHANG) == 0)
			dev->dead[left++] = dev->dead[i];
	}
	dev->dead_count = left;
}

/* With the lock, which it lets go of meanwhile. */
static void put_rings(struct wfs_cuda_device *dev)
{
	while (dev->ring_count) {
		struct wfs_landing_ring *ring = dev->rings[--dev->ring_count];

		pthread_mutex_unlock(&dev->lock);
		wfs_landing_ring_put(ring);
		pthread_mutex_lock(&dev->lock);
	}
}

/* With the lock: what there is to wait for; freed by the caller. */
static struct pollfd *gather(struct wfs_cuda_device *dev, nfds_t *ret_count)
{
	struct wfs_gpu_helper *helper;
	struct wfs_gpu_client *client;
	struct wfs_gpu_lease *lease;
	struct pollfd *polls;
	nfds_t n = 1 + dev->lease_count + dev->helper_count;

	for (client = dev->clients; client; client = client->next)
		n++;
	polls = wfs_calloc(n, sizeof(*polls));
	n = 0;
	polls[n++] = (struct pollfd){ dev->wake, POLLIN, 0 };
	for (client = dev->clients; client; client = client->next)
		polls[n++] = (struct pollfd){ client->pidfd, POLLIN, 0 };
	for (lease = dev->leases; lease; lease = lease->next)
		polls[n++] = (struct pollfd){ lease->pidfd, POLLIN, 0 };
	for (helper = dev->helpers; helper; helper = helper->next) {
		/* Who has it busy hears of it first. */
		if (helper->process.pid && !helper->busy)
			polls[n++] =
				(struct pollfd){ helper->process.socket, 0, 0 };
	}
	*ret_count = n;
	return polls;
}

static int timeout_until(const struct wfs_cuda_device *dev, uint64_t next)
{
	uint64_t now = wfs_now_ns();
	uint64_t ms;

	if (dev->dead_count)
		return DEAD_MS;
	if (next == UINT64_MAX)
		return -1;
	ms = next > now ? (next - now) / NS_PER_MS + 1 : 0;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void nap(void)
{
	const struct timespec time = { .tv_nsec = DEAD_MS * NS_PER_MS };

	nanosleep(&time, NULL);
}

/* With the lock.  The helpers go, and all memory with them. */
static void end_all(struct wfs_cuda_device *dev)
{
	end_what_died(dev, true);
	wfs_gpu_free_idle(dev, UINT64_MAX);
	tidy_helpers(dev);
	put_rings(dev);
	for (int i = 0; i < END_LOOKS && dev->dead_count; i++) {
		wait_for_dead(dev);
		if (dev->dead_count)
			nap();
	}
}

static void *watch(void *arg)
{
	struct wfs_cuda_device *dev = arg;

	wfs_gpu_look(dev, NULL, NULL);
	pthread_mutex_lock(&dev->lock);
	while (!dev->ending) {
		uint64_t next = wfs_gpu_free_idle(dev, wfs_now_ns());
		int timeout = timeout_until(dev, next);
		struct pollfd *polls;
		eventfd_t events;
		bool ended;
		nfds_t n;
		int ready;

		polls = gather(dev, &n);
		pthread_mutex_unlock(&dev->lock);
		ready = poll(polls, n, timeout);
		/* Each fill wakes us, and there may be thousands to ask. */
		ended = ready != (polls[0].revents != 0);
		eventfd_read(dev->wake, &events);
		free(polls);
		pthread_mutex_lock(&dev->lock);
		if (ended)
			end_what_died(dev, false);
		tidy_helpers(dev);
		wait_for_dead(dev);
		put_rings(dev);
	}
	end_all(dev);
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

int wfs_gpu_watch(struct wfs_cuda_device *dev)
{
	return -pthread_create(&dev->watcher, NULL, watch, dev);
}
