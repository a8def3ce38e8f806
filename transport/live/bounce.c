/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See bounce.h.
 */
#include "transport/live/bounce.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"

/* One for each connection that a seed has, and some; memory comes with use. */
#define BOUNCES 320
#define KEPT	4 /* whose memory is not given back when they are idle */

struct wfs_bounces {
	pthread_mutex_t lock;
	int fd;
	char *bytes;
	bool used[BOUNCES];
	struct wfs_bounce each[BOUNCES];
};

static int map(struct wfs_bounces *b)
{
	size_t size = (size_t)BOUNCES * WFS_CHUNK;
	void *at;

	b->fd = memfd_create("weightfs-live", MFD_CLOEXEC);
	if (b->fd < 0 || ftruncate(b->fd, (off_t)size))
		return -errno;
	at = mmap(NULL, size, PROT_READ, MAP_SHARED, b->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	b->bytes = at;
	/* Neither in a child nor in a dump of the engine. */
	madvise(at, size, MADV_DONTFORK);
	madvise(at, size, MADV_DONTDUMP);
	return 0;
}

int wfs_bounces_new(struct wfs_bounces **ret_bounces, struct wfs_err *err)
{
	struct wfs_bounces *b = wfs_calloc(1, sizeof(*b));
	int rc;

	pthread_mutex_init(&b->lock, NULL);
	rc = map(b);
	if (rc) {
		wfs_bounces_free(b);
		return wfs_err_set(err, rc, "cannot make a file in memory: %s",
				   strerror(-rc));
	}
	for (size_t i = 0; i < BOUNCES; i++) {
		b->each[i].bounces = b;
		b->each[i].off = i * WFS_CHUNK;
		b->each[i].bytes = b->bytes + b->each[i].off;
	}
	*ret_bounces = b;
	return 0;
}

void wfs_bounces_free(struct wfs_bounces *bounces)
{
	if (!bounces)
		return;
	if (bounces->bytes)
		munmap(bounces->bytes, (size_t)BOUNCES * WFS_CHUNK);
	if (bounces->fd >= 0)
		close(bounces->fd);
	pthread_mutex_destroy(&bounces->lock);
	free(bounces);
}

void wfs_bounces_abandon(struct wfs_bounces *bounces)
{
	close(bounces->fd);
}

struct wfs_bounce *wfs_bounce_get(struct wfs_bounces *bounces)
{
	struct wfs_bounce *bounce = NULL;

	pthread_mutex_lock(&bounces->lock);
	for (size_t i = 0; i < BOUNCES && !bounce; i++) {
		if (!bounces->used[i]) {
			bounces->used[i] = true;
			bounce = &bounces->each[i];
		}
	}
	pthread_mutex_unlock(&bounces->lock);
	return bounce;
}

void wfs_bounce_put(struct wfs_bounce *bounce)
{
	struct wfs_bounces *b = bounce->bounces;
	size_t i = (size_t)(bounce - b->each);

	if (i >= KEPT)
		fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)bounce->off, WFS_CHUNK);
	pthread_mutex_lock(&b->lock);
	b->used[i] = false;
	pthread_mutex_unlock(&b->lock);
}

int wfs_bounce_fill(struct wfs_bounce *bounce, size_t at,
		    const struct iovec *pieces, int n, size_t len)
{
	/* Not by the library's function, which a sanitizer looks into. */
	long wrote = syscall(SYS_pwritev, bounce->bounces->fd, pieces, n,
			     bounce->off + at, 0);

	if (wrote < 0)
		return -errno;
	return (size_t)wrote == len ? 0 : -EFAULT;
}

int wfs_bounce_fill_by(struct wfs_bounce *bounce, size_t at,
		       const struct wfs_live_reader *reader,
		       const struct iovec *pieces, int n)
{
	return reader->read(reader->ctx, pieces, n, bounce->bounces->fd,
			    bounce->off + at);
}
