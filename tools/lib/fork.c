/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fork.h.  What runs in a child uses system calls alone: any lock of the
 * C library may be held there for good.
 */
#include "tools/lib/fork.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/ids.h"
#include "transport/live/bounce.h"

#define NAMES_BYTES 4096

/* As the kernel lists a directory. */
struct listed {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wfs_forkable *all;
static atomic_uint generation;

static bool is_of_seed(int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	uint16_t port;

	if (getsockname(fd, (struct sockaddr *)&at, &len))
		return false;
	if (at.ss_family == AF_INET)
		port = ((const struct sockaddr_in *)&at)->sin_port;
	else if (at.ss_family == AF_INET6)
		port = ((const struct sockaddr_in6 *)&at)->sin6_port;
	else
		return false;
	for (const struct wfs_forkable *it = all; it; it = it->next)
		if (it->port == ntohs(port))
			return true;
	return false;
}

static void close_sockets(void)
{
	char names[NAMES_BYTES] __attribute__((aligned(8)));
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (dir < 0)
		return;
	while ((n = syscall(SYS_getdents64, dir, names, sizeof(names))) > 0) {
		for (long at = 0; at < n;) {
			const struct listed *it = (const void *)(names + at);
			int fd = (int)strtol(it->name, NULL, 10);

			if (it->name[0] != '.' && fd != dir && is_of_seed(fd))
				close(fd);
			at += it->len;
		}
	}
	close(dir);
}

static void in_child(void)
{
	atomic_fetch_add(&generation, 1);
	if (all) {
		close_sockets();
		wfs_node_id_renew();
	}
	for (const struct wfs_forkable *it = all; it; it = it->next)
		wfs_bounces_abandon(it->bounces);
	all = NULL;
	pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
	pthread_atfork(wfs_fork_hold, wfs_fork_release, in_child);
}

void wfs_fork_hold(void)
{
	pthread_mutex_lock(&lock);
}

void wfs_fork_release(void)
{
	pthread_mutex_unlock(&lock);
}

void wfs_forkable_add(struct wfs_forkable *it)
{
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&lock);
	it->generation = atomic_load(&generation);
	it->next = all;
	all = it;
	pthread_mutex_unlock(&lock);
}

void wfs_forkable_remove(struct wfs_forkable *it)
{
	struct wfs_forkable **at = &all;

	pthread_mutex_lock(&lock);
	while (*at && *at != it)
		at = &(*at)->next;
	if (*at)
		*at = it->next;
	pthread_mutex_unlock(&lock);
}

bool wfs_forkable_is_ours(const struct wfs_forkable *it)
{
	return it->generation == atomic_load(&generation);
}
