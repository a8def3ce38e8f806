/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See backing.h.  libfuse's own fuse_passthrough_open() wants a request,
 * which an evicting thread has not; the ioctl on the connection's descriptor
 * is the same.
 */
#include "fs/backing.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "core/base/log.h"
#include "core/base/text.h"

/* As in linux/fuse.h since 6.9; older headers have neither. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

enum probe_state {
	PROBE_OFF,     /* will not be used */
	PROBE_PENDING, /* not tried yet */
	PROBE_IN_USE,
};

struct direct {
	struct direct *next;
	uint64_t ino;
	int id;
};

#define BUCKETS	  1024
#define UNEXPOSED 1 /* for what the kernel does not know of */

struct wfs_backing {
	atomic_int fuse_fd; /* -1 before and after the connection */
	atomic_int state;
	_Atomic(const char *) why; /* constant text */
	pthread_once_t once;
	pthread_mutex_t lock; /* guards the table */
	struct direct *buckets[BUCKETS];
};

struct wfs_backing *wfs_backing_new(void)
{
	struct wfs_backing *b = wfs_calloc(1, sizeof(*b));

	atomic_init(&b->fuse_fd, -1);
	pthread_mutex_init(&b->lock, NULL);
	atomic_init(&b->why, "not mounted yet");
	return b;
}

static int backing_open(struct wfs_backing *b, int fd)
{
	struct backing_map map = { .fd = fd };
	int id = ioctl(atomic_load(&b->fuse_fd), BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

static void backing_close(struct wfs_backing *b, int id)
{
	uint32_t arg = (uint32_t)id;

	/* Fails only when the connection is gone, and the id with it. */
	(void)ioctl(atomic_load(&b->fuse_fd), BACKING_CLOSE, &arg);
}

void wfs_backing_free(struct wfs_backing *b)
{
	if (!b)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		while (b->buckets[i]) {
			struct direct *d = b->buckets[i];

			b->buckets[i] = d->next;
			free(d);
		}
	}
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void wfs_backing_setup(struct wfs_backing *b, int fuse_fd, const char *why_not)
{
	atomic_store(&b->fuse_fd, fuse_fd);
	atomic_store(&b->why, why_not ? why_not : "");
	atomic_store(&b->state, why_not ? PROBE_OFF : PROBE_PENDING);
}

void wfs_backing_stop(struct wfs_backing *b)
{
	atomic_store(&b->fuse_fd, -1);
}

static const char *explain(int error)
{
	switch (error) {
	case -EPERM:
		return "the daemon has no CAP_SYS_ADMIN; run it as root";
	case -EOPNOTSUPP:
	case -ENOTTY:
	case -EINVAL:
		return "the kernel has no FUSE passthrough; 6.9 or later has";
	default:
		return strerrordesc_np(-error);
	}
}

void wfs_backing_probe(struct wfs_backing *b)
{
	int expected = PROBE_PENDING, id;
	int fd wfs_autoclose = -1;

	if (atomic_load(&b->state) != PROBE_PENDING)
		return;
	pthread_mutex_lock(&b->lock);
	if (atomic_load(&b->state) == PROBE_PENDING) {
		fd = memfd_create("weightfs-probe", MFD_CLOEXEC);
		id = fd < 0 ? -errno : backing_open(b, fd);
		if (id > 0) {
			backing_close(b, id);
		} else {
			atomic_store(&b->why, explain(id));
			wfs_warn("passthrough is not in use: %s; files are "
				 "served by ordinary reads, at a tenth of the "
				 "speed",
				 explain(id));
		}
		atomic_compare_exchange_strong(&b->state, &expected,
					       id > 0 ? PROBE_IN_USE :
							PROBE_OFF);
	}
	pthread_mutex_unlock(&b->lock);
}

bool wfs_backing_in_use(const struct wfs_backing *b)
{
	return atomic_load(&b->state) == PROBE_IN_USE;
}

const char *wfs_backing_why(const struct wfs_backing *b)
{
	return atomic_load(&b->why);
}

/* Without passthrough the kernel need not know: we answer reads of it. */
static int expose(void *ctx, int fd)
{
	const struct wfs_backing *b = ctx;

	return atomic_load(&b->state) == PROBE_OFF ? UNEXPOSED :
						     backing_open(ctx, fd);
}

static void unexpose(void *ctx, int id)
{
	const struct wfs_backing *b = ctx;

	if (atomic_load(&b->state) != PROBE_OFF)
		backing_close(ctx, id);
}

struct wfs_exposer wfs_backing_exposer(struct wfs_backing *b)
{
	return (struct wfs_exposer){
		.ctx = b,
		.expose = expose,
		.unexpose = unexpose,
	};
}

static struct direct **find(struct wfs_backing *b, uint64_t ino)
{
	uint64_t h = (ino * 0x9e3779b97f4a7c15ull) >> 54;
	struct direct **pd = &b->buckets[h % BUCKETS];

	while (*pd && (*pd)->ino != ino)
		pd = &(*pd)->next;
	return pd;
}

int wfs_backing_direct(struct wfs_backing *b, uint64_t ino, int fd,
		       const char *path)
{
	struct direct **pd;
	int id;

	pthread_mutex_lock(&b->lock);
	pd = find(b, ino);
	if (!*pd) {
		*pd = wfs_calloc(1, sizeof(**pd));
		(*pd)->ino = ino;
		(*pd)->id = backing_open(b, fd);
		if ((*pd)->id <= 0)
			wfs_warn("no passthrough to '%s': %s; it is served by "
				 "ordinary reads",
				 path, strerror(-(*pd)->id));
	}
	id = (*pd)->id;
	pthread_mutex_unlock(&b->lock);
	return id > 0 ? id : -ENOTSUP;
}

int wfs_backing_direct_peek(struct wfs_backing *b, uint64_t ino)
{
	struct direct *d;
	int id;

	pthread_mutex_lock(&b->lock);
	d = *find(b, ino);
	id = d ? d->id : 0;
	pthread_mutex_unlock(&b->lock);
	return id;
}

void wfs_backing_drop(struct wfs_backing *b, uint64_t mask, uint64_t value)
{
	pthread_mutex_lock(&b->lock);
	for (int i = 0; i < BUCKETS; i++) {
		struct direct **pd = &b->buckets[i];

		while (*pd) {
			struct direct *d = *pd;

			if ((d->ino & mask) != value) {
				pd = &d->next;
				continue;
			}
			if (d->id > 0)
				backing_close(b, d->id);
			*pd = d->next;
			free(d);
		}
	}
	pthread_mutex_unlock(&b->lock);
}
