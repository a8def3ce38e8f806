/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of connections, see clients.h.
 *
 * A socket is only ever shut down here, never closed: that is for whoever
 * reads and writes it, who notices.
 */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/source.h"
#include "transport/seed/clients.h"

#define NS_PER_S  1000000000ull
#define PACE_MIN  1024 /* bytes a second that a client must take */
#define KEEP_IDLE 30   /* seconds until a silent peer is asked */
#define KEEP_EACH 10
#define KEEP_MISS 3

void wfs_clients_init(struct wfs_clients *clients)
{
	pthread_mutex_init(&clients->lock, NULL);
}

void wfs_clients_clear(struct wfs_clients *clients)
{
	pthread_mutex_destroy(&clients->lock);
}

static struct in6_addr address_of(int fd)
{
	struct sockaddr_storage at = { 0 };
	const struct sockaddr_in *v4 = (const void *)&at;
	struct in6_addr address = { 0 };
	socklen_t len = sizeof(at);

	if (getpeername(fd, (struct sockaddr *)&at, &len) == 0 &&
	    at.ss_family == AF_INET6)
		return ((const struct sockaddr_in6 *)&at)->sin6_addr;
	if (at.ss_family == AF_INET) {
		memset(address.s6_addr + 10, 0xff, 2);
		memcpy(address.s6_addr + 12, &v4->sin_addr, 4);
	}
	return address;
}

/* A peer that vanished without a word must not hold a thread for hours. */
static void set_keepalive(int fd)
{
	static const struct {
		int name, value;
	} tcp[] = { { TCP_NODELAY, 1 },
		    { TCP_KEEPIDLE, KEEP_IDLE },
		    { TCP_KEEPINTVL, KEEP_EACH },
		    { TCP_KEEPCNT, KEEP_MISS } };
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	for (size_t i = 0; i < sizeof(tcp) / sizeof(tcp[0]); i++)
		setsockopt(fd, IPPROTO_TCP, tcp[i].name, &tcp[i].value,
			   sizeof(tcp[i].value));
}

static enum wfs_standing standing_of(const struct wfs_clients *clients,
				     const struct in6_addr *address)
{
	unsigned same = 0;

	for (const struct wfs_client *c = clients->first; c; c = c->next)
		same += memcmp(&c->address, address, sizeof(*address)) == 0;
	if (same >= clients->per_address)
		return WFS_ITS_TOO_MANY;
	return clients->count >= clients->max ? WFS_ONE_TOO_MANY : WFS_WELCOME;
}

struct wfs_client *wfs_client_add(struct wfs_clients *clients, int fd,
				  bool owned)
{
	struct wfs_client *client = wfs_calloc(1, sizeof(*client));

	client->fd = fd;
	client->owned = owned;
	client->refs = 1;
	client->inner = -1;
	client->address = address_of(fd);
	client->since = client->quick = wfs_now_ns();
	set_keepalive(fd);
	pthread_mutex_lock(&clients->lock);
	client->standing = standing_of(clients, &client->address);
	if (client->standing != WFS_WELCOME)
		atomic_fetch_add(&clients->refused, 1);
	client->next = clients->first;
	if (client->next)
		client->next->prev = client;
	clients->first = client;
	clients->count++;
	pthread_mutex_unlock(&clients->lock);
	return client;
}

void wfs_client_lend(struct wfs_clients *clients, struct wfs_client *client,
		     int inner)
{
	pthread_mutex_lock(&clients->lock);
	client->refs++;
	client->inner = inner;
	pthread_mutex_unlock(&clients->lock);
}

struct wfs_client *wfs_client_find(struct wfs_clients *clients, int inner)
{
	struct wfs_client *client;

	pthread_mutex_lock(&clients->lock);
	client = clients->first;
	while (client && client->inner != inner)
		client = client->next;
	pthread_mutex_unlock(&clients->lock);
	return client;
}

void wfs_client_release(struct wfs_clients *clients, struct wfs_client *client)
{
	bool last;

	pthread_mutex_lock(&clients->lock);
	last = --client->refs == 0;
	if (last) {
		if (client->prev)
			client->prev->next = client->next;
		else
			clients->first = client->next;
		if (client->next)
			client->next->prev = client->prev;
		clients->count--;
	}
	pthread_mutex_unlock(&clients->lock);
	if (!last)
		return;
	if (client->owned)
		close(client->fd);
	free(client);
}

void wfs_client_give_back(struct wfs_clients *clients,
			  struct wfs_client *client)
{
	bool lent;

	pthread_mutex_lock(&clients->lock);
	lent = client->inner >= 0;
	client->inner = -1;
	pthread_mutex_unlock(&clients->lock);
	if (lent)
		wfs_client_release(clients, client);
}

bool wfs_clients_full(struct wfs_clients *clients)
{
	bool full;

	pthread_mutex_lock(&clients->lock);
	full = clients->count >= clients->max + clients->spare;
	pthread_mutex_unlock(&clients->lock);
	return full;
}

static void set_asking(struct wfs_clients *clients, struct wfs_client *client,
		       bool asking)
{
	pthread_mutex_lock(&clients->lock);
	client->asking = asking || client->streams;
	client->since = client->quick = wfs_now_ns();
	pthread_mutex_unlock(&clients->lock);
}

void wfs_client_asks(struct wfs_clients *clients, struct wfs_client *client)
{
	set_asking(clients, client, true);
}

void wfs_client_answered(struct wfs_clients *clients, struct wfs_client *client)
{
	set_asking(clients, client, false);
}

void wfs_client_streams(struct wfs_clients *clients, struct wfs_client *client)
{
	pthread_mutex_lock(&clients->lock);
	client->asking = client->streams = true;
	pthread_mutex_unlock(&clients->lock);
}

void wfs_client_sends(struct wfs_clients *clients, struct wfs_client *client,
		      struct wfs_region *region)
{
	pthread_mutex_lock(&clients->lock);
	client->region = region;
	pthread_mutex_unlock(&clients->lock);
}

bool wfs_client_gone(const struct wfs_client *client)
{
	struct pollfd poll_fd = { .fd = client->fd, .events = POLLRDHUP };

	return poll(&poll_fd, 1, 0) > 0;
}

/* Bytes that it acknowledged so far; false when that cannot be told. */
static bool acknowledged(int fd, uint64_t *ret_bytes)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return false;
	*ret_bytes = info.tcpi_bytes_acked;
	return true;
}

/*
 * Has it kept bytes waiting for so long?  Where nothing waits in the socket
 * it is we who are slow.
 */
static bool is_stalled(const struct wfs_clients *clients,
		       struct wfs_client *client, uint64_t now)
{
	uint64_t acked = 0, least;
	int queued = 0;

	if (ioctl(client->fd, SIOCOUTQ, &queued) || queued == 0 ||
	    !acknowledged(client->fd, &acked)) {
		client->quick = now;
		client->acked = acked;
		return false;
	}
	if (client->acked == 0)
		client->acked = acked;
	if (now - client->quick < clients->stall_ns)
		return false;
	least = PACE_MIN * (now - client->quick) / NS_PER_S;
	if (acked - client->acked < least)
		return true;
	client->quick = now;
	client->acked = acked;
	return false;
}

static const char *why_cut_off(const struct wfs_clients *clients,
			       struct wfs_client *client, uint64_t now)
{
	if (!client->asking)
		return now - client->since > clients->header_ns ?
			       "it brought no request in time" :
			       NULL;
	if (client->region && wfs_region_check(client->region))
		return "what it was being sent was rewritten";
	if (is_stalled(clients, client, now))
		return "it takes its bytes too slowly";
	return NULL;
}

void wfs_clients_look(struct wfs_clients *clients, bool all)
{
	uint64_t now;

	pthread_mutex_lock(&clients->lock);
	/* Not before: nobody here may have come after it. */
	now = wfs_now_ns();
	for (struct wfs_client *c = clients->first; c; c = c->next) {
		const char *why = all ? NULL : why_cut_off(clients, c, now);

		if (!all && !why)
			continue;
		shutdown(c->fd, SHUT_RDWR);
		/* Looked at again only when that did nothing. */
		c->since = c->quick = now;
		if (why) {
			atomic_fetch_add(&clients->cut_off, 1);
			wfs_debug("a client is cut off: %s", why);
		}
	}
	pthread_mutex_unlock(&clients->lock);
}
