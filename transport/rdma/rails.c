/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the devices by the addresses they have.
 */
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "transport/rdma/verbs.h"

struct rdma_event_channel *wfs_verbs_channel(const struct wfs_verbs *verbs)
{
	struct rdma_event_channel *channel = verbs->rdma_create_event_channel();

	if (channel)
		fcntl(channel->fd, F_SETFL, O_NONBLOCK);
	return channel;
}

/* May others reach us there? */
static bool is_address(const struct ifaddrs *a)
{
	const struct sockaddr_in6 *v6;

	if (!a->ifa_addr || !(a->ifa_flags & IFF_UP) ||
	    a->ifa_flags & IFF_LOOPBACK)
		return false;
	if (a->ifa_addr->sa_family == AF_INET)
		return true;
	v6 = (const void *)a->ifa_addr;
	return a->ifa_addr->sa_family == AF_INET6 &&
	       !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

/* Of its mask; without one nobody else is in its network. */
static unsigned prefix_of(const struct ifaddrs *a)
{
	bool v4 = a->ifa_addr->sa_family == AF_INET;
	const struct sockaddr *mask = a->ifa_netmask;
	unsigned len = v4 ? 4 : 16, bits = 0;
	const uint8_t *bytes;

	if (!mask)
		return 8 * len;
	bytes = v4 ? (const void *)&(
			     (const struct sockaddr_in *)(const void *)mask)
				->sin_addr :
		     (const void *)&(
			     (const struct sockaddr_in6 *)(const void *)mask)
				->sin6_addr;
	for (unsigned i = 0; i < len; i++)
		bits += (unsigned)__builtin_popcount(bytes[i]);
	return bits;
}

static bool bind_rail(const struct wfs_verbs *verbs,
		      struct rdma_event_channel *channel,
		      const struct ifaddrs *a, struct wfs_rail *ret)
{
	struct sockaddr *address = a->ifa_addr;
	socklen_t len = address->sa_family == AF_INET ?
				sizeof(struct sockaddr_in) :
				sizeof(struct sockaddr_in6);
	struct wfs_rail rail = { .prefix = prefix_of(a) };

	if (getnameinfo(address, len, rail.address, sizeof(rail.address), NULL,
			0, NI_NUMERICHOST) ||
	    verbs->rdma_create_id(channel, &rail.id, NULL, RDMA_PS_TCP))
		return false;
	if (verbs->rdma_bind_addr(rail.id, address) || !rail.id->verbs) {
		verbs->rdma_destroy_id(rail.id);
		return false;
	}
	snprintf(rail.device, sizeof(rail.device), "%s",
		 verbs->ibv_get_device_name(rail.id->verbs->device));
	rail.port = rail.id->port_num;
	*ret = rail;
	return true;
}

bool wfs_rail_is_same(const struct wfs_rail *a, const struct wfs_rail *b)
{
	return strcmp(a->device, b->device) == 0 && a->port == b->port;
}

bool wfs_rail_is_active(const struct wfs_verbs *verbs,
			const struct wfs_rail *rail)
{
	struct ibv_port_attr attr = { 0 };

	/* What the header's macro does where the device has no better. */
	return !verbs->ibv_query_port(rail->id->verbs, rail->port,
				      (struct _compat_ibv_port_attr *)&attr) &&
	       attr.state == IBV_PORT_ACTIVE;
}

static bool is_known(const struct wfs_rail *rails, size_t n,
		     const struct wfs_rail *rail)
{
	for (size_t i = 0; i < n; i++)
		if (wfs_rail_is_same(&rails[i], rail))
			return true;
	return false;
}

/* One line, however often ports are looked for. */
static void say_left_out(const struct wfs_rail *rail)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&said))
		wfs_warn("RDMA: '%s' at %s is not used, nor is any other port: "
			 "%d are the most; take the addresses of those that "
			 "are not wanted away",
			 rail->device, rail->address, WFS_RAILS_MAX);
}

size_t wfs_rails_bind(const struct wfs_verbs *verbs,
		      struct rdma_event_channel *channel,
		      struct wfs_rail rails[WFS_RAILS_MAX])
{
	struct ifaddrs *all = NULL;
	size_t n = 0;

	if (getifaddrs(&all))
		return 0;
	for (struct ifaddrs *a = all; a; a = a->ifa_next) {
		struct wfs_rail rail;

		if (!is_address(a) || !bind_rail(verbs, channel, a, &rail))
			continue;
		if (is_known(rails, n, &rail)) {
			verbs->rdma_destroy_id(rail.id);
		} else if (n < WFS_RAILS_MAX) {
			rails[n++] = rail;
		} else {
			say_left_out(&rail);
			verbs->rdma_destroy_id(rail.id);
		}
	}
	freeifaddrs(all);
	return n;
}
