/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file: brought here, opened, mapped.
 *
 * A file that a mount serves is asked for with WEIGHTFS_IOC_WARM and opened
 * when all of it is here, so that the open is passthrough and no page fault
 * has to wait for a network, or fail.  What cannot be brought here is read,
 * which can fail with an errno, and never mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "core/base/mem.h"
#include "fs/weightfs_ioctl.h"
#include "tools/lib/client.h"

#define HUGE_PAGE   (2u << 20)
#define FIRST_PAUSE 1000000L  /* ns between two questions */
#define LAST_PAUSE  20000000L /* ns */
#define TRIES	    4	      /* opens of a file that is evicted each time */

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* since 5.14 */
#endif

/* Asks how a file is had; brings it here if `start`.  Or a negative errno. */
static int ask(int fd, bool start)
{
	struct weightfs_warm warm = { .start = start };

	if (ioctl(fd, WEIGHTFS_IOC_WARM, &warm) != 0) {
		switch (errno) {
		case ENOTTY: /* no mount of ours */
		case EINVAL:
			return WFS_WEIGHTS_LOCAL;
		case ENOSPC:
		case EOPNOTSUPP:
			return WFS_WEIGHTS_FAR;
		default:
			return -errno;
		}
	}
	switch ((enum weightfs_warm_state)warm.state) {
	case WEIGHTFS_WARM_UNDER_WAY:
		return WFS_WEIGHTS_UNDER_WAY;
	case WEIGHTFS_WARM_COMPLETE:
		return WFS_WEIGHTS_HERE;
	case WEIGHTFS_WARM_LOCAL:
		return WFS_WEIGHTS_LOCAL;
	case WEIGHTFS_WARM_ABSENT:
		break;
	}
	return WFS_WEIGHTS_FAR;
}

/* O_NONBLOCK: an open of a mount's file that would wait for its bytes does
   not. */
static int open_file(const struct weightfs_set *set,
		     const struct wfs_weights_file *file, int flags)
{
	int fd = openat(set->dir, file->name, O_RDONLY | O_CLOEXEC | flags);

	return fd < 0 ? -errno : fd;
}

void wfs_weights_file_start(const struct weightfs_set *set,
			    struct wfs_weights_file *file)
{
	int fd, state;

	pthread_mutex_lock(&file->lock);
	if (file->state == WFS_WEIGHTS_UNKNOWN && file->fd < 0) {
		fd = open_file(set, file, O_NONBLOCK);
		state = fd < 0 ? fd : ask(fd, true);
		if (state >= 0)
			file->state = (enum wfs_weights_state)state;
		wfs_closep(&fd);
	}
	pthread_mutex_unlock(&file->lock);
}

/* Until it is no longer under way. */
static int await(int fd, const atomic_bool *stop)
{
	struct timespec pause = { .tv_nsec = FIRST_PAUSE };
	int state;

	while ((state = ask(fd, false)) == WFS_WEIGHTS_UNDER_WAY) {
		if (atomic_load(stop))
			return -ECANCELED;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < LAST_PAUSE)
			pause.tv_nsec *= 2;
	}
	return state;
}

/*
 * One open: the state that it found, with *ret_fd open if the file can be used
 * through it.  An open from before all was here is one that the daemon
 * answers, so another one is needed then: WFS_WEIGHTS_HERE without *ret_fd.
 */
static int open_once(const struct weightfs_set *set,
		     const struct wfs_weights_file *file,
		     const atomic_bool *stop, int *ret_fd)
{
	int fd wfs_autoclose = open_file(set, file, 0);
	bool fresh = file->state != WFS_WEIGHTS_HERE;
	int state;

	if (fd < 0)
		return fd;
	state = ask(fd, true);
	if (state == WFS_WEIGHTS_UNDER_WAY)
		state = await(fd, stop);
	if (state >= 0 && !(state == WFS_WEIGHTS_HERE && fresh))
		*ret_fd = wfs_steal_fd(&fd);
	return state;
}

static int open_locked(const struct weightfs_set *set,
		       struct wfs_weights_file *file, const atomic_bool *stop)
{
	int state;

	for (int i = 0; file->fd < 0 && i < TRIES; i++) {
		state = open_once(set, file, stop, &file->fd);
		if (state < 0)
			return state;
		file->state = (enum wfs_weights_state)state;
	}
	if (file->fd >= 0)
		return 0;
	file->fd = open_file(set, file, 0);
	file->state = WFS_WEIGHTS_FAR;
	return file->fd < 0 ? file->fd : 0;
}

int wfs_weights_file_open(const struct weightfs_set *set,
			  struct wfs_weights_file *file,
			  const atomic_bool *stop, struct wfs_err *err)
{
	int rc;

	pthread_mutex_lock(&file->lock);
	rc = file->fd < 0 ? open_locked(set, file, stop) : 0;
	pthread_mutex_unlock(&file->lock);
	if (rc == -ECANCELED)
		return wfs_err_set(err, rc, "loading '%s' was given up",
				   set->path);
	return rc ? wfs_weights_fail(set, file->name, rc, err) : 0;
}

/*
 * A private map, from a huge page's border on so that huge pages can be mapped
 * as such; anonymous memory for what is not here.
 */
static int map_locked(struct wfs_weights_file *file)
{
	bool anonymous = file->state == WFS_WEIGHTS_FAR;
	size_t len = file->size, slack = len >= HUGE_PAGE ? HUGE_PAGE : 0;
	char *room = mmap(NULL, len + slack, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct weightfs_mapping *m;
	char *base;

	if (room == MAP_FAILED)
		return -errno;
	base = slack ? room + (-(uintptr_t)room & (HUGE_PAGE - 1)) : room;
	if (mmap(base, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE |
			 (anonymous ? MAP_ANONYMOUS : 0),
		 anonymous ? -1 : file->fd, 0) == MAP_FAILED) {
		int rc = -errno;

		munmap(room, len + slack);
		return rc;
	}
	m = wfs_calloc(1, sizeof(*m));
	m->base = base;
	m->room = room;
	m->room_len = len + slack;
	m->anonymous = anonymous;
	m->filled = anonymous ? wfs_calloc(file->count, sizeof(*m->filled)) :
				NULL;
	atomic_store(&m->refs, 1);
	file->mapping = m;
	return 0;
}

int wfs_weights_file_map(const struct weightfs_set *set,
			 struct wfs_weights_file *file,
			 struct weightfs_mapping **ret_mapping,
			 struct wfs_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&file->lock);
	if (!file->mapping)
		rc = map_locked(file);
	if (!rc)
		*ret_mapping = file->mapping;
	pthread_mutex_unlock(&file->lock);
	if (rc)
		return wfs_err_set(err, rc, "cannot map '%s' of '%s': %s",
				   file->name, set->path, strerror(-rc));
	return 0;
}

void weightfs_unmap(struct weightfs_mapping *m)
{
	if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
		return;
	munmap(m->room, m->room_len);
	free(m->filled);
	free(m);
}

void wfs_weights_file_drop(struct wfs_weights_file *file)
{
	pthread_mutex_lock(&file->lock);
	weightfs_unmap(file->mapping);
	file->mapping = NULL;
	wfs_closep(&file->fd);
	file->fd = -1;
	file->state = WFS_WEIGHTS_UNKNOWN;
	pthread_mutex_unlock(&file->lock);
}

int wfs_weights_piece_read(const struct weightfs_set *set,
			   const struct wfs_weights_piece *piece, void *to,
			   struct wfs_err *err)
{
	const struct wfs_weights_tensor *t = &set->tensors[piece->tensor];
	const struct wfs_weights_file *file = &set->files[t->file];
	ssize_t n =
		wfs_pread_all(file->fd, to, piece->len, t->off + piece->off);

	if (n < 0 || (uint64_t)n < piece->len)
		return wfs_err_set(err, n < 0 ? (int)n : -EIO,
				   "cannot read tensor '%s' of '%s': %s",
				   t->name, set->path,
				   n < 0 ? strerror((int)-n) :
					   "its file is shorter than it was");
	return 0;
}

/*
 * Page by page it would be a fault each; an old kernel does that later.
 * (MADV_WILLNEED before it costs more than it brings.)
 */
static int populate(char *from, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t before = (uintptr_t)from & (page - 1);

	from -= before;
	len += before;
	while (madvise(from, len, MADV_POPULATE_READ) != 0) {
		if (errno == EINVAL)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return errno == ENOMEM ? -ENOMEM : -EIO;
	}
	return 0;
}

int wfs_weights_piece_fill(const struct weightfs_set *set,
			   const struct wfs_weights_piece *piece,
			   struct wfs_err *err)
{
	const struct wfs_weights_tensor *t = &set->tensors[piece->tensor];
	const struct wfs_weights_file *file = &set->files[t->file];
	char *to = file->mapping->base + t->off + piece->off;
	int rc;

	if (!file->mapping->anonymous)
		rc = populate(to, piece->len);
	else if (file->mapping->filled[piece->tensor - file->first])
		return 0;
	else
		return wfs_weights_piece_read(set, piece, to, err);
	if (rc)
		return wfs_err_set(err, rc,
				   "cannot read tensor '%s' of '%s': %s",
				   t->name, set->path, strerror(-rc));
	return 0;
}
