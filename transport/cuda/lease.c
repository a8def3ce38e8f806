/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a lease of memory that is lent: a process, until it gives it back or
 * is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "transport/cuda/inner.h"

int wfs_gpu_lease_add(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		      struct wfs_gpu_lent *lent, struct wfs_gpu_lease **ret)
{
	struct wfs_gpu_lease *lease;
	size_t of_it = 0;
	int pidfd;

	for (lease = dev->leases; lease; lease = lease->next) {
		if (!wfs_proc_same(&lease->proc, proc))
			continue;
		of_it++;
		if (lease->lent == lent && lease->returned) {
			lease->returned = false;
			lease->id = dev->next_id++;
			*ret = lease;
			return 0;
		}
	}
	if (dev->lease_count == WFS_GPU_LEASES_MAX ||
	    of_it == WFS_GPU_LEASES_EACH)
		return -EBUSY;
	pidfd = wfs_proc_open(proc);
	if (pidfd < 0)
		return pidfd;
	lease = wfs_calloc(1, sizeof(*lease));
	lease->id = dev->next_id++;
	lease->proc = *proc;
	lease->pidfd = pidfd;
	lease->lent = lent;
	lease->next = dev->leases;
	dev->leases = lease;
	dev->lease_count++;
	lent->leases++;
	wfs_gpu_wake(dev);
	*ret = lease;
	return 0;
}

void wfs_gpu_lease_end(struct wfs_cuda_device *dev, struct wfs_gpu_lease *lease)
{
	struct wfs_gpu_lease **at = &dev->leases;

	while (*at != lease)
		at = &(*at)->next;
	*at = lease->next;
	dev->lease_count--;
	lease->lent->leases--;
	lease->lent->idle_ns = wfs_now_ns();
	close(lease->pidfd);
	free(lease);
}

/* With the lock.  One that the process has not given back. */
static struct wfs_gpu_lease *find_lease(const struct wfs_cuda_device *dev,
					const struct wfs_proc *proc,
					uint64_t id)
{
	struct wfs_gpu_lease *lease = dev->leases;

	while (lease && (lease->id != id || lease->returned ||
			 !wfs_proc_same(&lease->proc, proc)))
		lease = lease->next;
	return lease;
}

int wfs_gpu_copy_descriptor(const struct wfs_gpu_lent *lent, int *ret_fd)
{
	int fd;

	if (lent->fd < 0)
		return -EOPNOTSUPP;
	fd = fcntl(lent->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int wfs_gpu_descriptor(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		       uint64_t id, int *ret_fd, uint64_t *ret_bytes)
{
	const struct wfs_gpu_lease *lease;
	int rc = -ENOENT;

	pthread_mutex_lock(&dev->lock);
	lease = find_lease(dev, proc, id);
	if (lease)
		rc = wfs_gpu_copy_descriptor(lease->lent, ret_fd);
	if (!rc)
		*ret_bytes = lease->lent->memory_bytes;
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

int wfs_gpu_return(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		   uint64_t id)
{
	struct wfs_gpu_lease *lease;
	int rc;

	pthread_mutex_lock(&dev->lock);
	lease = find_lease(dev, proc, id);
	if (lease && lease->lent->memory == WFS_DEVICE_VMM_FD) {
		wfs_gpu_lease_end(dev, lease);
		wfs_gpu_wake(dev);
	} else if (lease) {
		lease->returned = true;
	}
	rc = lease ? 0 : -ENOENT;
	pthread_mutex_unlock(&dev->lock);
	return rc;
}
