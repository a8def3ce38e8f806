/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See passing.h.  A client that does not take its answers is cut off rather
 * than waited for.
 */
#include "fs/passing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/unix.h"
#include "fs/weightfs_ioctl.h"

#define ROOT_DIR "/run/weightfs-ioctl"
#define WAKE	 0 /* in `polls`: the pipe that ends the thread */
#define LISTEN	 1
#define FIRST	 2
#define POLLS	 (FIRST + WFS_PASSING_CLIENTS)

/* One end of a connection; its address is its slots' owner. */
struct client {
	uid_t uid;
};

struct wfs_passing {
	struct wfs_slots *slots;
	uint8_t key[WFS_CALLER_KEY];
	char *path;
	int wake[2];
	pthread_t thread;
	unsigned count; /* of polls */
	struct pollfd polls[POLLS];
	struct client *clients[POLLS];
};

_Static_assert(WFS_CALLER_TOKEN == WEIGHTFS_TOKEN_BYTES,
	       "a token is as long as the ABI says");

/* Who is at the other end; its pid is 0 if we cannot see it. */
static int caller_of(int socket, struct wfs_caller *ret_caller)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return -ESRCH;
	return wfs_caller_find(peer.pid, peer.uid, ret_caller);
}

/* Whatever it is; who imports it will see. */
static int open_device(int fd, struct wfs_slot *slot)
{
	slot->kind = WFS_SLOT_DEVICE;
	slot->fd = fd;
	return 0;
}

static int open_event(int fd, struct wfs_slot *slot)
{
	char name[64] = "", link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	if (n < 0 || strncmp(name, "anon_inode:[eventfd]", 20) != 0)
		return -EOPNOTSUPP;
	slot->kind = WFS_SLOT_EVENT;
	slot->fd = fd;
	return 0;
}

/* `fd` is the slot's from then on, or the caller's. */
static int add(struct wfs_passing *p, struct client *client,
	       const struct weightfs_pass *pass, int fd,
	       struct weightfs_passed *passed)
{
	struct wfs_slot slot = { .uid = client->uid,
				 .owner = client,
				 .fd = -1 };
	uint64_t id;
	int rc = -EINVAL;

	if (pass->what == WEIGHTFS_PASS_MEMORY)
		rc = wfs_target_open(fd, pass->bytes, &slot.target);
	else if (pass->what == WEIGHTFS_PASS_EVENT && !pass->bytes)
		rc = open_event(fd, &slot);
	else if (pass->what == WEIGHTFS_PASS_DEVICE && !pass->bytes)
		rc = open_device(fd, &slot);
	if (rc)
		return rc;
	passed->bytes = slot.target.bytes;
	passed->mapped = slot.target.map != NULL;
	rc = wfs_slots_add(p->slots, &slot, &id, NULL);
	if (!rc)
		passed->slot = id;
	else
		wfs_target_unmap(&slot.target);
	return rc;
}

static int take(struct wfs_passing *p, int socket, struct client *client,
		const struct weightfs_pass *pass, int *fd,
		struct weightfs_passed *passed)
{
	struct wfs_caller caller;
	int rc;

	if (pass->abi != WEIGHTFS_ABI || *fd < 0)
		return -EINVAL;
	rc = caller_of(socket, &caller);
	if (rc)
		return rc;
	if (!wfs_caller_shows(p->key, &caller, pass->token))
		return -EACCES;
	rc = add(p, client, pass, *fd, passed);
	if (!rc)
		wfs_steal_fd(fd);
	return rc;
}

/* One message; false: the client is to be cut off. */
static bool answer(struct wfs_passing *p, int socket, struct client *client)
{
	struct weightfs_passed passed = { .abi = WEIGHTFS_ABI };
	struct weightfs_pass pass;
	int fd wfs_autoclose = -1;

	if (wfs_unix_receive(socket, &pass, sizeof(pass), &fd) != 0)
		return false;
	passed.status = take(p, socket, client, &pass, &fd, &passed);
	if (passed.status)
		passed = (struct weightfs_passed){ .abi = WEIGHTFS_ABI,
						   .status = passed.status };
	return wfs_unix_send(socket, &passed, sizeof(passed), -1) == 0;
}

static bool is_welcome(const struct wfs_passing *p, uid_t uid)
{
	unsigned of_user = 0;

	for (unsigned i = FIRST; i < p->count; i++)
		of_user += p->clients[i]->uid == uid;
	return p->count < POLLS && of_user < WFS_PASSING_CLIENTS_EACH;
}

static void let_in(struct wfs_passing *p)
{
	int fd = accept4(p->polls[LISTEN].fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
	    !is_welcome(p, peer.uid)) {
		wfs_debug("'%s': one more client than can be served", p->path);
		close(fd);
		return;
	}
	p->clients[p->count] = wfs_malloc(sizeof(struct client));
	p->clients[p->count]->uid = peer.uid;
	p->polls[p->count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void cut_off(struct wfs_passing *p, unsigned i)
{
	wfs_slots_orphan(p->slots, p->clients[i]);
	free(p->clients[i]);
	close(p->polls[i].fd);
	p->count--;
	p->polls[i] = p->polls[p->count];
	p->clients[i] = p->clients[p->count];
}

static void *serve(void *arg)
{
	struct wfs_passing *p = arg;

	for (;;) {
		if (poll(p->polls, p->count, -1) < 0)
			continue;
		if (p->polls[WAKE].revents)
			return NULL;
		/* From behind: the last takes the place of one cut off. */
		for (unsigned i = p->count; i-- > FIRST;)
			if (p->polls[i].revents &&
			    !answer(p, p->polls[i].fd, p->clients[i]))
				cut_off(p, i);
		if (p->polls[LISTEN].revents)
			let_in(p);
	}
}

static int listen_for(struct wfs_passing *p, bool everybody,
		      struct wfs_err *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool root = geteuid() == 0;
	char *dir wfs_autofree = NULL;
	int rc;

	if (root)
		dir = wfs_strdup(ROOT_DIR);
	else if (runtime && runtime[0] == '/')
		dir = wfs_asprintf("%s/weightfs", runtime);
	else
		return wfs_err_set(err, -ENOENT,
				   "no directory for a socket: "
				   "XDG_RUNTIME_DIR is not set");
	rc = wfs_unix_dir(dir, root ? 0711 : 0700, err);
	if (rc)
		return rc;
	return wfs_unix_listen(dir, "ioctl", everybody ? 0666 : 0600, &p->path,
			       &p->polls[LISTEN].fd, err);
}

static void free_passing(struct wfs_passing *p)
{
	while (p->count > FIRST)
		cut_off(p, p->count - 1);
	if (p->polls[LISTEN].fd >= 0) {
		close(p->polls[LISTEN].fd);
		unlink(p->path);
	}
	for (int i = 0; i < 2; i++)
		if (p->wake[i] >= 0)
			close(p->wake[i]);
	free(p->path);
	free(p);
}

int wfs_passing_start(struct wfs_slots *slots, bool everybody,
		      struct wfs_passing **ret_passing, struct wfs_err *err)
{
	struct wfs_passing *p = wfs_calloc(1, sizeof(*p));
	int rc;

	p->slots = slots;
	p->wake[0] = p->wake[1] = p->polls[LISTEN].fd = -1;
	p->count = FIRST;
	rc = listen_for(p, everybody, err);
	if (!rc && getrandom(p->key, sizeof(p->key), 0) != sizeof(p->key))
		rc = wfs_err_set(err, -EIO, "there is no randomness");
	if (!rc && pipe2(p->wake, O_CLOEXEC) != 0)
		rc = wfs_err_set(err, -errno, "cannot make a pipe: %s",
				 strerror(errno));
	p->polls[WAKE] = (struct pollfd){ .fd = p->wake[0], .events = POLLIN };
	p->polls[LISTEN].events = POLLIN;
	if (!rc) {
		rc = -pthread_create(&p->thread, NULL, serve, p);
		if (rc)
			wfs_err_set(err, rc, "cannot start a thread: %s",
				    strerror(-rc));
	}
	if (rc) {
		free_passing(p);
		return rc;
	}
	*ret_passing = p;
	return 0;
}

void wfs_passing_stop(struct wfs_passing *p)
{
	if (!p)
		return;
	close(p->wake[1]); /* POLLHUP at the other end */
	p->wake[1] = -1;
	pthread_join(p->thread, NULL);
	free_passing(p);
}

const char *wfs_passing_path(const struct wfs_passing *p)
{
	return p->path;
}

const uint8_t *wfs_passing_key(const struct wfs_passing *p)
{
	return p->key;
}
