/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See passing.h.
 */
#include "fs/passing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/base/unix.h"
#include "core/base/unix_serve.h"
#include "core/device.h"
#include "fs/weightfs_ioctl.h"

#define ROOT_DIR "/run/weightfs-ioctl"

/* One end of a connection; its address is its slots' owner. */
struct client {
	uid_t uid;
	struct client *next;
};

struct wfs_passing {
	struct wfs_slots *slots;
	struct wfs_device *device;
	uint8_t key[WFS_CALLER_KEY];
	struct client *clients; /* the server's thread's */
	struct wfs_unix_server *server;
};

_Static_assert(WFS_CALLER_TOKEN == WEIGHTFS_TOKEN_BYTES,
	       "a token is as long as the ABI says");

/* Who is at the other end; its pid is 0 if we cannot see it. */
static int caller_of(int socket, struct wfs_caller *ret_caller)
{
	struct ucred peer;

	if (wfs_unix_peer(socket, &peer) != 0)
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
	if (n < 0 || !wfs_starts_with(name, "anon_inode:[eventfd]"))
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
		rc = wfs_target_open(fd, pass->number, &slot.target);
	else if (pass->what == WEIGHTFS_PASS_EVENT && !pass->number)
		rc = open_event(fd, &slot);
	else if (pass->what == WEIGHTFS_PASS_DEVICE && !pass->number)
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

/* Of memory that the process was lent. */
static int give(struct wfs_passing *p, const struct wfs_caller *caller,
		uint64_t lease, int *ret_fd, struct weightfs_passed *passed)
{
	const struct wfs_device_caller who = { .pid = caller->proc.tgid,
					       .uid = caller->uid };
	uint64_t bytes;
	int rc = wfs_device_descriptor(p->device, &who, lease, ret_fd, &bytes);

	if (!rc)
		passed->bytes = bytes;
	return rc == -ENOENT ? -ESRCH : rc;
}

/* *fd is what came, and then what goes back. */
static int take(struct wfs_passing *p, int socket, struct client *client,
		const struct weightfs_pass *pass, int *fd,
		struct weightfs_passed *passed)
{
	struct wfs_caller caller;
	int rc;

	if (pass->abi != WEIGHTFS_ABI ||
	    (*fd < 0) != (pass->what == WEIGHTFS_PASS_LEASE))
		return -EINVAL;
	rc = caller_of(socket, &caller);
	if (rc)
		return rc;
	if (!wfs_caller_shows(p->key, &caller, pass->token))
		return -EACCES;
	if (pass->what == WEIGHTFS_PASS_LEASE)
		return give(p, &caller, pass->number, fd, passed);
	rc = add(p, client, pass, *fd, passed);
	if (!rc)
		wfs_steal_fd(fd);
	return rc;
}

static bool answer(void *ctx, int socket, void *client)
{
	struct weightfs_passed passed = { .abi = WEIGHTFS_ABI };
	struct weightfs_pass pass;
	int fd wfs_autoclose = -1;

	if (wfs_unix_receive(socket, &pass, sizeof(pass), &fd) != 0)
		return false;
	passed.status = take(ctx, socket, client, &pass, &fd, &passed);
	if (passed.status)
		passed = (struct weightfs_passed){ .abi = WEIGHTFS_ABI,
						   .status = passed.status };
	return wfs_unix_send(socket, &passed, sizeof(passed),
			     passed.status ? -1 : fd) == 0;
}

static bool has_many(const struct wfs_passing *p, uid_t uid)
{
	unsigned of_user = 0;

	for (const struct client *c = p->clients; c; c = c->next)
		of_user += c->uid == uid;
	return of_user >= WFS_PASSING_CLIENTS_EACH;
}

static bool welcome(void *ctx, const char *path, int socket, bool full,
		    void **ret_client)
{
	struct wfs_passing *p = ctx;
	struct client *client;
	struct ucred peer;

	if (full || wfs_unix_peer(socket, &peer) != 0 ||
	    has_many(p, peer.uid)) {
		wfs_debug("'%s': one more client than can be served", path);
		return false;
	}
	client = wfs_malloc(sizeof(*client));
	*client = (struct client){ .uid = peer.uid, .next = p->clients };
	p->clients = client;
	*ret_client = client;
	return true;
}

static void leave(void *ctx, void *client)
{
	struct wfs_passing *p = ctx;
	struct client **at = &p->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = (*at)->next;
	wfs_slots_orphan(p->slots, client);
	free(client);
}

int wfs_passing_start(struct wfs_slots *slots, struct wfs_device *device,
		      bool everybody, struct wfs_passing **ret_passing,
		      struct wfs_err *err)
{
	struct wfs_passing *p = wfs_calloc(1, sizeof(*p));
	const struct wfs_unix_service service = {
		.ctx = p,
		.root_dir = ROOT_DIR,
		.dir_mode = geteuid() == 0 ? 0711 : 0700,
		.name = "ioctl",
		.mode = everybody ? 0666 : 0600,
		.most = WFS_PASSING_CLIENTS,
		.welcome = welcome,
		.answer = answer,
		.leave = leave,
	};
	int rc = 0;

	p->slots = slots;
	p->device = device;
	if (getrandom(p->key, sizeof(p->key), 0) != sizeof(p->key))
		rc = wfs_err_set(err, -EIO, "there is no randomness");
	if (!rc)
		rc = wfs_unix_server_start(&service, &p->server, err);
	if (rc) {
		free(p);
		return rc;
	}
	*ret_passing = p;
	return 0;
}

void wfs_passing_stop(struct wfs_passing *p)
{
	if (!p)
		return;
	wfs_unix_server_stop(p->server);
	free(p);
}

const char *wfs_passing_path(const struct wfs_passing *p)
{
	return wfs_unix_server_path(p->server);
}

const uint8_t *wfs_passing_key(const struct wfs_passing *p)
{
	return p->key;
}
