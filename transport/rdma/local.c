/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See local.h.
 */
#include "transport/rdma/local.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/rdma/local_inner.h"

struct wfs_locals wfs_the_locals = { .lock = PTHREAD_MUTEX_INITIALIZER };

static atomic_ullong bytes[WFS_LOCALS_MAX];

int wfs_rdma_address_parse(const char *text, uint16_t port,
			   union wfs_rdma_address *ret)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(text, service, &hints, &found))
		return -EINVAL;
	*ret = (union wfs_rdma_address){ 0 };
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

static const uint8_t *bytes_of(const union wfs_rdma_address *address)
{
	return address->base.sa_family == AF_INET ?
		       (const uint8_t *)&address->v4.sin_addr :
		       (const uint8_t *)&address->v6.sin6_addr;
}

bool wfs_local_reaches(const struct wfs_local *local,
		       const union wfs_rdma_address *to)
{
	const uint8_t *a = bytes_of(&local->from), *b = bytes_of(to);
	unsigned whole = local->prefix / 8, rest = local->prefix % 8;

	if (local->from.base.sa_family != to->base.sa_family ||
	    memcmp(a, b, whole) != 0)
		return false;
	return !rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

size_t wfs_locals(const struct wfs_verbs *verbs,
		  struct wfs_local ret[WFS_LOCALS_MAX])
{
	struct wfs_locals *all = &wfs_the_locals;
	size_t n;

	pthread_mutex_lock(&all->lock);
	if (verbs && !all->watched && !all->failed)
		all->failed = !wfs_locals_watch_locked(all, verbs);
	n = all->watched ? all->count : 0;
	memcpy(ret, all->local, n * sizeof(*ret));
	pthread_mutex_unlock(&all->lock);
	for (size_t i = 0; i < n; i++)
		ret[i].bytes = atomic_load(&bytes[i]);
	return n;
}

void wfs_local_count(unsigned index, uint64_t len)
{
	if (index < WFS_LOCALS_MAX)
		atomic_fetch_add_explicit(&bytes[index], len,
					  memory_order_relaxed);
}

void wfs_local_join(struct wfs_local_link *link)
{
	struct wfs_locals *all = &wfs_the_locals;

	pthread_mutex_lock(&all->lock);
	link->next = all->links;
	all->links = link;
	if (link->index < all->count) {
		all->local[link->index].links++;
		if (!all->local[link->index].up)
			link->lost(link, -ENETDOWN);
	}
	pthread_mutex_unlock(&all->lock);
}

void wfs_local_leave(struct wfs_local_link *link)
{
	struct wfs_locals *all = &wfs_the_locals;
	struct wfs_local_link **at = &all->links;

	pthread_mutex_lock(&all->lock);
	while (*at && *at != link)
		at = &(*at)->next;
	if (*at) {
		*at = link->next;
		if (link->index < all->count)
			all->local[link->index].links--;
	}
	pthread_mutex_unlock(&all->lock);
}

void wfs_locals_end(void)
{
	struct wfs_locals *all = &wfs_the_locals;

	wfs_locals_unwatch(all);
	pthread_mutex_lock(&all->lock);
	memset(all->local, 0, sizeof(all->local));
	all->count = 0;
	all->failed = false;
	pthread_mutex_unlock(&all->lock);
	for (size_t i = 0; i < WFS_LOCALS_MAX; i++)
		atomic_store(&bytes[i], 0);
}
