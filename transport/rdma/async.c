/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See async.h.
 */
#include "transport/rdma/async.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/mem.h"

/* Who did not look for so long looks at ports anyway. */
#define EVENTS_MAX 256

struct heard {
	struct ibv_context *context;
	unsigned times; /* it was added */
	bool over;	/* no event can be had of it any more */
};

struct wfs_async {
	struct wfs_async *next;
	const struct wfs_verbs *verbs;
	int fd; /* an eventfd: another one took events for us */
	struct heard heard[WFS_RAILS_MAX];
	size_t heard_count;
	struct wfs_async_event *events;
	size_t event_count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all of it */
static struct wfs_async *all;

bool wfs_async_ends_qp(const struct wfs_async_event *event)
{
	return !event->error && (event->type == IBV_EVENT_QP_FATAL ||
				 event->type == IBV_EVENT_QP_REQ_ERR ||
				 event->type == IBV_EVENT_QP_ACCESS_ERR);
}

static struct heard *find_locked(struct wfs_async *async,
				 const struct ibv_context *context)
{
	for (size_t i = 0; i < async->heard_count; i++)
		if (async->heard[i].context == context)
			return &async->heard[i];
	return NULL;
}

int wfs_async_open(const struct wfs_verbs *verbs, struct wfs_async **ret_async)
{
	struct wfs_async *async = wfs_calloc(1, sizeof(*async));

	async->verbs = verbs;
	async->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (async->fd < 0) {
		int rc = -errno;

		free(async);
		return rc;
	}
	pthread_mutex_lock(&lock);
	async->next = all;
	all = async;
	pthread_mutex_unlock(&lock);
	*ret_async = async;
	return 0;
}

void wfs_async_close(struct wfs_async *async)
{
	struct wfs_async **at = &all;

	if (!async)
		return;
	pthread_mutex_lock(&lock);
	while (*at != async)
		at = &(*at)->next;
	*at = async->next;
	pthread_mutex_unlock(&lock);
	close(async->fd);
	free(async->events);
	free(async);
}

/* Events must not block the one who asks for them. */
static void unblock(const struct ibv_context *context)
{
	int flags = fcntl(context->async_fd, F_GETFL);

	if (flags >= 0)
		fcntl(context->async_fd, F_SETFL, flags | O_NONBLOCK);
}

void wfs_async_add(struct wfs_async *async, struct ibv_context *context)
{
	struct heard *heard;

	pthread_mutex_lock(&lock);
	heard = find_locked(async, context);
	if (!heard && async->heard_count < WFS_RAILS_MAX) {
		unblock(context);
		heard = &async->heard[async->heard_count++];
		*heard = (struct heard){ .context = context };
	}
	if (heard)
		heard->times++;
	pthread_mutex_unlock(&lock);
}

void wfs_async_drop(struct wfs_async *async, const struct ibv_context *context)
{
	struct heard *heard;

	pthread_mutex_lock(&lock);
	heard = find_locked(async, context);
	if (heard && !--heard->times)
		*heard = async->heard[--async->heard_count];
	pthread_mutex_unlock(&lock);
}

size_t wfs_async_fds(struct wfs_async *async,
		     struct pollfd ret_fds[WFS_ASYNC_FDS])
{
	size_t n = 0;

	ret_fds[n++] = (struct pollfd){ .fd = async->fd, .events = POLLIN };
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < async->heard_count; i++)
		if (!async->heard[i].over)
			ret_fds[n++] = (struct pollfd){
				.fd = async->heard[i].context->async_fd,
				.events = POLLIN,
			};
	pthread_mutex_unlock(&lock);
	return n;
}

static void give_locked(struct wfs_async *to, struct wfs_async *taker,
			const struct wfs_async_event *event)
{
	struct heard *heard = find_locked(to, event->context);
	uint64_t one = 1;

	if (!heard || heard->over)
		return;
	if (to->event_count == EVENTS_MAX && !event->error)
		return;
	heard->over = event->error;
	to->events =
		wfs_realloc(to->events, (to->event_count + 1) * sizeof(*event));
	to->events[to->event_count++] = *event;
	if (to != taker && write(to->fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable as it is */
}

static void share_locked(struct wfs_async *taker,
			 const struct wfs_async_event *event)
{
	for (struct wfs_async *to = all; to; to = to->next)
		give_locked(to, taker, event);
}

/* What it is about goes only after it was acknowledged. */
static struct wfs_async_event read_event(const struct wfs_verbs *verbs,
					 struct ibv_context *context,
					 struct ibv_async_event *raw)
{
	struct wfs_async_event event = {
		.context = context,
		.type = raw->event_type,
		.what = verbs->ibv_event_type_str(raw->event_type),
	};

	if (wfs_async_ends_qp(&event))
		event.qp_num = raw->element.qp->qp_num;
	else if (raw->event_type == IBV_EVENT_PORT_ERR ||
		 raw->event_type == IBV_EVENT_PORT_ACTIVE ||
		 raw->event_type == IBV_EVENT_GID_CHANGE)
		event.port = (uint8_t)raw->element.port_num;
	verbs->ibv_ack_async_event(raw);
	return event;
}

static void take_locked(struct wfs_async *async, struct ibv_context *context)
{
	struct ibv_async_event raw;
	struct wfs_async_event event;

	errno = 0;
	while (!async->verbs->ibv_get_async_event(context, &raw)) {
		event = read_event(async->verbs, context, &raw);
		share_locked(async, &event);
		errno = 0;
	}
	if (!errno || errno == EAGAIN || errno == EINTR)
		return;
	event = (struct wfs_async_event){ .context = context,
					  .error = errno,
					  .what = "its events have ended" };
	share_locked(async, &event);
}

bool wfs_async_next(struct wfs_async *async, struct wfs_async_event *ret)
{
	uint64_t told;
	bool any;

	pthread_mutex_lock(&lock);
	if (read(async->fd, &told, sizeof(told)) < 0)
		told = 0; /* nobody took any for us */
	for (size_t i = 0; i < async->heard_count; i++)
		if (!async->heard[i].over)
			take_locked(async, async->heard[i].context);
	any = async->event_count;
	if (any) {
		*ret = async->events[0];
		memmove(async->events, async->events + 1,
			--async->event_count * sizeof(*async->events));
	}
	pthread_mutex_unlock(&lock);
	return any;
}
