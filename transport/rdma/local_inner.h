/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this node's ports share; nobody else includes it.
 *
 *	local.c	      the table, and who reads by them
 *	local_watch.c the thread that watches them
 */
#ifndef WFS_TRANSPORT_RDMA_LOCAL_INNER_H
#define WFS_TRANSPORT_RDMA_LOCAL_INNER_H

#include <pthread.h>

#include "transport/rdma/async.h"
#include "transport/rdma/local.h"

struct wfs_locals {
	pthread_mutex_t lock; /* guards all that follows */
	struct wfs_local local[WFS_LOCALS_MAX];
	size_t count;
	struct wfs_local_link *links;
	bool watched, failed; /* or it was tried in vain */
	pthread_t thread;
	/* The thread's alone. */
	const struct wfs_verbs *verbs;
	struct rdma_event_channel *events;
	struct wfs_async *async;
	struct wfs_rail rails[WFS_LOCALS_MAX]; /* id NULL: it is gone */
	int stop_fd;
	bool look; /* addresses may have changed */
};
extern struct wfs_locals wfs_the_locals;

/* False: they cannot be. */
bool wfs_locals_watch_locked(struct wfs_locals *all,
			     const struct wfs_verbs *verbs);
void wfs_locals_unwatch(struct wfs_locals *all);

#endif
