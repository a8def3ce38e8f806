/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings that fills are fed through: memory that a helper maps and has
 * registered once, so that it is kept for the next fill, and no user's bytes
 * are ever in another's.  There are only so many; an idle one of another helper
 * goes for a new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "core/base/mem.h"
#include "transport/cuda/inner.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* since 5.1 */
#endif

static void free_room(struct wfs_device_room *base)
{
	struct wfs_gpu_room *room = (struct wfs_gpu_room *)base;

	munmap(room->at, WFS_GPU_FEED_RING);
	close(room->fd);
	atomic_fetch_sub(&room->dev->room_count, 1);
	free(room);
}

/*
 * What is read into it may be held against a digest there, and passed on to
 * others: only we write it, whoever has the descriptor.
 */
static int make_memory(int *ret_fd, char **ret_at)
{
	int fd wfs_autoclose =
		memfd_create("weightfs ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *at;

	if (fd < 0)
		return -errno;
	if (fallocate(fd, 0, 0, WFS_GPU_FEED_RING) != 0)
		return errno == ENOSPC ? -ENOMEM : -errno;
	at = mmap(NULL, WFS_GPU_FEED_RING, PROT_READ | PROT_WRITE, MAP_SHARED,
		  fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE |
			  F_SEAL_SEAL) != 0) {
		munmap(at, WFS_GPU_FEED_RING);
		return -EOPNOTSUPP;
	}
	*ret_fd = wfs_steal_fd(&fd);
	*ret_at = at;
	return 0;
}

static int make_room(struct wfs_cuda_device *dev,
		     const struct wfs_gpu_helper *helper,
		     struct wfs_gpu_room **ret_room)
{
	struct wfs_gpu_room *room;
	char *at = NULL;
	int fd = -1, rc;

	if (atomic_fetch_add(&dev->room_count, 1) >= WFS_GPU_ROOMS_MAX)
		rc = -EBUSY;
	else
		rc = make_memory(&fd, &at);
	if (rc) {
		atomic_fetch_sub(&dev->room_count, 1);
		return rc;
	}
	room = wfs_calloc(1, sizeof(*room));
	room->base.free = free_room;
	atomic_store(&room->base.users, 1);
	room->dev = dev;
	room->helper = helper;
	room->fd = fd;
	room->at = at;
	pthread_mutex_lock(&dev->lock);
	room->id = dev->next_id++;
	pthread_mutex_unlock(&dev->lock);
	*ret_room = room;
	return 0;
}

/* With the lock: an idle one of that helper's, or of others'; NULL. */
static struct wfs_gpu_room *take(struct wfs_cuda_device *dev,
				 const struct wfs_gpu_helper *helper, bool own)
{
	struct wfs_gpu_room **at = &dev->rooms, *room;

	while (*at && ((*at)->helper == helper) != own)
		at = &(*at)->next;
	room = *at;
	if (room)
		*at = room->next;
	return room;
}

/* Has the helper let go of it, if it lives yet.  Ours is only a user of it. */
static void detach(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		   struct wfs_gpu_room *room)
{
	struct wfs_gpu_request ask = { .op = WFS_GPU_UNRING, .ring = room->id };
	struct wfs_gpu_talk talk = {
		.ask = &ask,
		.fds = { -1, -1 },
		.deadline_ns = wfs_now_ns() + WFS_GPU_TIDY_NS,
		.life = &room->starts,
	};
	struct wfs_device_fault fault;

	if (room->starts)
		wfs_gpu_helper_ask(dev, helper, &talk, &fault, NULL);
	wfs_device_room_put(&room->base);
}

/* A helper with an idle one is there as long as that. */
static bool end_another(struct wfs_cuda_device *dev,
			const struct wfs_gpu_helper *helper)
{
	struct wfs_gpu_helper *other;
	struct wfs_gpu_room *room;

	pthread_mutex_lock(&dev->lock);
	room = take(dev, helper, false);
	other = dev->helpers;
	while (room && other != room->helper)
		other = other->next;
	if (room)
		other->users++;
	pthread_mutex_unlock(&dev->lock);
	if (!room)
		return false;
	detach(dev, other, room);
	wfs_gpu_helper_put(dev, other);
	return true;
}

int wfs_gpu_room_get(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		     struct wfs_gpu_room **ret_room)
{
	struct wfs_gpu_room *room;
	int rc;

	pthread_mutex_lock(&dev->lock);
	room = take(dev, helper, true);
	pthread_mutex_unlock(&dev->lock);
	if (room) {
		*ret_room = room;
		return 0;
	}
	do
		rc = make_room(dev, helper, ret_room);
	while (rc == -EBUSY && end_another(dev, helper));
	return rc;
}

void wfs_gpu_room_put(struct wfs_cuda_device *dev,
		      struct wfs_gpu_helper *helper, struct wfs_gpu_room *room)
{
	if (atomic_load(&room->base.users) > 1) {
		detach(dev, helper, room);
		return;
	}
	pthread_mutex_lock(&dev->lock);
	room->next = dev->rooms;
	dev->rooms = room;
	pthread_mutex_unlock(&dev->lock);
}

void wfs_gpu_rooms_end(struct wfs_cuda_device *dev,
		       const struct wfs_gpu_helper *helper)
{
	struct wfs_gpu_room *room;

	while ((room = take(dev, helper, true)))
		wfs_device_room_put(&room->base);
}
