/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ring.h.
 */
#include "fs/ring.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/mem.h"

#define AT_ONCE 8

struct wfs_ring {
	pthread_mutex_t lock;
	aio_context_t context;
	int file; /* what is read: nothing, from memory */
};

int wfs_ring_new(struct wfs_ring **ret_ring)
{
	struct wfs_ring *ring = wfs_calloc(1, sizeof(*ring));

	ring->file = memfd_create("weightfs-ring", MFD_CLOEXEC);
	if (ring->file < 0 ||
	    syscall(SYS_io_setup, AT_ONCE, &ring->context) != 0) {
		int rc = -errno;

		wfs_closep(&ring->file);
		free(ring);
		return rc;
	}
	pthread_mutex_init(&ring->lock, NULL);
	*ret_ring = ring;
	return 0;
}

void wfs_ring_free(struct wfs_ring *ring)
{
	if (!ring)
		return;
	syscall(SYS_io_destroy, ring->context);
	pthread_mutex_destroy(&ring->lock);
	close(ring->file);
	free(ring);
}

int wfs_ring(struct wfs_ring *ring, int event)
{
	struct io_event seen[AT_ONCE];
	struct timespec now = { 0 };
	char byte;
	struct iocb read = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)ring->file,
		.aio_buf = (uintptr_t)&byte,
		.aio_nbytes = 1,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)event,
	};
	struct iocb *reads[] = { &read };
	int rc;

	pthread_mutex_lock(&ring->lock);
	rc = syscall(SYS_io_submit, ring->context, 1, reads) == 1 ? 0 : -errno;
	/* Of memory it has ended by now; takes what is told of it. */
	syscall(SYS_io_getevents, ring->context, 0, AT_ONCE, seen, &now);
	pthread_mutex_unlock(&ring->lock);
	return rc;
}
