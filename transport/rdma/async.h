/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What befalls devices: the asynchronous events of their contexts.
 *
 * The library has one context for each device in the process, and gives an
 * event of it to one who asks.  Here everybody who listens gets each: whoever
 * asks first takes it for all.
 */
#ifndef WFS_TRANSPORT_RDMA_ASYNC_H
#define WFS_TRANSPORT_RDMA_ASYNC_H

#include <poll.h>

#include "transport/rdma/verbs.h"

struct wfs_async_event {
	struct ibv_context *context;
	enum ibv_event_type type;
	int error;	  /* no event: none can be had any more; 0: one */
	uint8_t port;	  /* of events of ports */
	uint32_t qp_num;  /* of events of queue pairs */
	const char *what; /* for people; lives for good */
};

/* Is it of one queue pair, which is of no use any more? */
bool wfs_async_ends_qp(const struct wfs_async_event *event);

struct wfs_async; /* one who listens; but for its end of one thread */

#define WFS_ASYNC_FDS (1 + WFS_RAILS_MAX)

/* -EMFILE … */
int wfs_async_open(const struct wfs_verbs *verbs, struct wfs_async **ret_async);
void wfs_async_close(struct wfs_async *async); /* NULL is fine */

/* Listens to that context, until it is dropped as often as it was added. */
void wfs_async_add(struct wfs_async *async, struct ibv_context *context);
void wfs_async_drop(struct wfs_async *async, const struct ibv_context *context);

/* What is readable when there may be an event; how many. */
size_t wfs_async_fds(struct wfs_async *async,
		     struct pollfd ret_fds[WFS_ASYNC_FDS]);
/* The oldest one; false: there is none now. */
bool wfs_async_next(struct wfs_async *async, struct wfs_async_event *ret);

#endif
