/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See stretch.h.  A few dozen at most: one for each file that is being filled.
 */
#include "core/base/stretch.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/mem.h"

struct node {
	struct wfs_stretch stretch;
	struct node *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node *nodes; /* the lock's */

/* Held for reading while those who watch are told. */
static pthread_rwlock_t watching = PTHREAD_RWLOCK_INITIALIZER;
static struct wfs_stretch_watch *watches;

void wfs_stretch_add(void *start, uint64_t len)
{
	struct node *node = wfs_malloc(sizeof(*node));

	node->stretch = (struct wfs_stretch){ start, len };
	pthread_mutex_lock(&lock);
	node->next = nodes;
	nodes = node;
	pthread_mutex_unlock(&lock);
}

static struct node *take_out(const void *start)
{
	struct node **at = &nodes, *node;

	pthread_mutex_lock(&lock);
	while (*at && (*at)->stretch.start != start)
		at = &(*at)->next;
	node = *at;
	if (node)
		*at = node->next;
	pthread_mutex_unlock(&lock);
	return node;
}

void wfs_stretch_remove(void *start)
{
	struct node *node = take_out(start);

	if (!node)
		return;
	pthread_rwlock_rdlock(&watching);
	for (struct wfs_stretch_watch *w = watches; w; w = w->next)
		w->gone(w->ctx, &node->stretch);
	pthread_rwlock_unlock(&watching);
	free(node);
}

bool wfs_stretch_find(const void *at, uint64_t len,
		      struct wfs_stretch *ret_stretch)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (const struct node *n = nodes; n && !found; n = n->next) {
		/* Below its start that is a large number. */
		uint64_t off = (uintptr_t)at - (uintptr_t)n->stretch.start;

		found = off < n->stretch.len && len <= n->stretch.len - off;
		if (found)
			*ret_stretch = n->stretch;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

void wfs_stretch_watch(struct wfs_stretch_watch *watch)
{
	pthread_rwlock_wrlock(&watching);
	watch->next = watches;
	watches = watch;
	pthread_rwlock_unlock(&watching);
}

void wfs_stretch_unwatch(struct wfs_stretch_watch *watch)
{
	struct wfs_stretch_watch **at = &watches;

	pthread_rwlock_wrlock(&watching);
	while (*at && *at != watch)
		at = &(*at)->next;
	if (*at)
		*at = watch->next;
	pthread_rwlock_unlock(&watching);
}
