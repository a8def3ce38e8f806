/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets, see listen.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/mem.h"
#include "transport/seed/listen.h"
#include "transport/seed/parse.h"
#include "transport/wire/frame.h"

#define BACKLOG 256

int wfs_listen_parse(const char *address, char *ret_host, char *ret_port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : strlen(address);
	unsigned port = WFS_DEFAULT_PORT;

	if (address[0] == '[') {
		const char *end = strchr(address, ']');

		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
		len = (size_t)(end - ++address);
	} else if (memchr(address, ':', len)) {
		return -EINVAL; /* v6 without brackets: which is the port? */
	}
	if (len >= WFS_LISTEN_HOST || (len == 0 && !colon))
		return -EINVAL;
	if (colon && (wfs_number_parse(colon + 1, &port) || port > UINT16_MAX))
		return -EINVAL;
	memcpy(ret_host, address, len);
	ret_host[len] = '\0';
	snprintf(ret_port, WFS_LISTEN_PORT, "%u", port);
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *at)
{
	const struct sockaddr_in *v4 = (const void *)at;
	const struct sockaddr_in6 *v6 = (const void *)at;

	if (at->ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return at->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static void describe(int fd, struct wfs_listener *listener)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	char host[64], port[WFS_LISTEN_PORT];

	if (getsockname(fd, (struct sockaddr *)&at, &len) ||
	    getnameinfo((struct sockaddr *)&at, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	listener->loopback = is_loopback(&at);
	snprintf(listener->name, sizeof(listener->name),
		 at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* A listening socket, or -errno. */
static int listen_at(const struct addrinfo *at, bool everywhere)
{
	int fd wfs_autoclose = socket(
		at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
	int on = 1, off = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (at->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY,
			   everywhere ? &off : &on, sizeof(on));
	if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, BACKLOG))
		return -errno;
	return wfs_steal_fd(&fd);
}

int wfs_listener_open(const char *address, struct wfs_listener *ret_listener,
		      struct wfs_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE };
	struct wfs_listener listener = { .fd = -EINVAL };
	char host[WFS_LISTEN_HOST], port[WFS_LISTEN_PORT];
	struct addrinfo *list;
	int rc;

	if (wfs_listen_parse(address, host, port))
		return wfs_err_set(err, -EINVAL,
				   "cannot listen on '%s': that is not "
				   "ADDR:PORT, such as 127.0.0.1:%d",
				   address, WFS_DEFAULT_PORT);
	/* The v6 wildcard takes v4 as well, where there is v6. */
	hints.ai_family = host[0] ? AF_UNSPEC : AF_INET6;
	rc = getaddrinfo(host[0] ? host : "::", port, &hints, &list);
	if (rc)
		return wfs_err_set(err, -EINVAL, "cannot listen on '%s': %s",
				   address, gai_strerror(rc));
	for (const struct addrinfo *at = list; at && listener.fd < 0;
	     at = at->ai_next)
		listener.fd = listen_at(at, !host[0]);
	freeaddrinfo(list);
	if (!host[0] && listener.fd == -EAFNOSUPPORT) {
		char *v4 wfs_autofree = wfs_asprintf("0.0.0.0:%s", port);

		return wfs_listener_open(v4, ret_listener, err);
	}
	if (listener.fd < 0)
		return wfs_err_set(err, listener.fd,
				   "cannot listen on '%s': %s", address,
				   strerror(-listener.fd));
	describe(listener.fd, &listener);
	*ret_listener = listener;
	return 0;
}
