/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the libraries, and finds the devices by the addresses they have.
 */
#include "transport/rdma/verbs.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct wfs_verbs table;
static struct wfs_err failure;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *open_library(const char *name)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (!library && !failure.code)
		wfs_err_set(&failure, -ENOENT,
			    "no RDMA: '%s' cannot be loaded: %s; install "
			    "rdma-core with libibverbs and librdmacm",
			    name, dlerror());
	return library;
}

static void *find(void *library, const char *name)
{
	void *found = library ? dlsym(library, name) : NULL;

	if (!found && !failure.code)
		wfs_err_set(&failure, -ENOSYS,
			    "no RDMA: the libraries have no '%s'; install a "
			    "newer rdma-core",
			    name);
	return found;
}

static void load(void)
{
	void *verbs = open_library("libibverbs.so.1");
	void *cm = open_library("librdmacm.so.1");

#define FIND_VERBS(name) *(void **)&table.name = find(verbs, #name);
#define FIND_CM(name)	 *(void **)&table.name = find(cm, #name);
	WFS_IBVERBS_CALLS(FIND_VERBS)
	WFS_RDMACM_CALLS(FIND_CM)
}

const struct wfs_verbs *wfs_verbs_load(struct wfs_err *err)
{
	pthread_once(&once, load);
	if (!failure.code)
		return &table;
	wfs_err_set(err, failure.code, "%s", failure.text);
	return NULL;
}

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

static bool bind_rail(const struct wfs_verbs *verbs,
		      struct rdma_event_channel *channel,
		      struct sockaddr *address, struct wfs_rail *ret)
{
	socklen_t len = address->sa_family == AF_INET ?
				sizeof(struct sockaddr_in) :
				sizeof(struct sockaddr_in6);
	struct wfs_rail rail = { 0 };

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

static bool is_known(const struct wfs_rail *rails, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(rails[i].device, rails[n].device) &&
		    rails[i].port == rails[n].port)
			return true;
	return false;
}

size_t wfs_rails_bind(const struct wfs_verbs *verbs,
		      struct rdma_event_channel *channel,
		      struct wfs_rail rails[WFS_RAILS_MAX])
{
	struct ifaddrs *all = NULL;
	size_t n = 0;

	if (getifaddrs(&all))
		return 0;
	for (struct ifaddrs *a = all; a && n < WFS_RAILS_MAX; a = a->ifa_next) {
		if (!is_address(a) ||
		    !bind_rail(verbs, channel, a->ifa_addr, &rails[n]))
			continue;
		if (is_known(rails, n))
			verbs->rdma_destroy_id(rails[n].id);
		else
			n++;
	}
	freeifaddrs(all);
	return n;
}
