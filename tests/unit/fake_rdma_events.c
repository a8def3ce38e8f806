/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channels of librdmacm, and the events in them.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/fake_rdma_inner.h"

struct rdma_event_channel *fake_rdma_create_event_channel(void)
{
	struct fake_channel *channel = wfs_calloc(1, sizeof(*channel));

	channel->base.fd = fake_counter();
	fake_lock();
	fake.live[FAKE_CHANNEL]++;
	fake_unlock();
	return &channel->base;
}

void fake_rdma_destroy_event_channel(struct rdma_event_channel *base)
{
	struct fake_channel *channel = (struct fake_channel *)base;

	fake_lock();
	if (channel->users)
		fake_misused("a channel goes with %u connections",
			     channel->users);
	fake.live[FAKE_CHANNEL]--;
	fake_unlock();
	close(base->fd);
	free(channel);
}

struct fake_event *fake_tell(struct fake_id *id, enum rdma_cm_event_type type,
			     int status)
{
	struct fake_channel *channel = (struct fake_channel *)id->base.channel;
	struct fake_event *event = wfs_calloc(1, sizeof(*event));
	struct fake_event **at = &channel->events;

	event->base = (struct rdma_cm_event){ .id = &id->base,
					      .event = type,
					      .status = status };
	event->of = id;
	while (*at)
		at = &(*at)->next;
	*at = event;
	fake_counter_add(channel->base.fd);
	return event;
}

void fake_forget_events(struct fake_id *id)
{
	struct fake_channel *channel = (struct fake_channel *)id->base.channel;
	struct fake_event **at = &channel->events;

	while (*at) {
		struct fake_event *event = *at;

		if (event->of != id) {
			at = &event->next;
			continue;
		}
		*at = event->next;
		fake_counter_take(channel->base.fd);
		if (event->base.event == RDMA_CM_EVENT_CONNECT_REQUEST)
			fake_id_free((struct fake_id *)event->base.id);
		free(event);
		at = &channel->events;
	}
}

int fake_rdma_get_cm_event(struct rdma_event_channel *base,
			   struct rdma_cm_event **ret_event)
{
	struct fake_channel *channel = (struct fake_channel *)base;
	struct fake_event *event;
	uint64_t one;

	if (read(base->fd, &one, sizeof(one)) != sizeof(one))
		return -1;
	fake_lock();
	event = channel->events;
	channel->events = event->next;
	event->of->unacked++;
	((struct fake_id *)event->base.id)->told = true;
	fake_unlock();
	*ret_event = &event->base;
	return 0;
}

int fake_rdma_ack_cm_event(struct rdma_cm_event *base)
{
	struct fake_event *event = (struct fake_event *)base;

	fake_lock();
	event->of->unacked--;
	fake_unlock();
	free(event);
	return 0;
}

const char *fake_rdma_event_str(enum rdma_cm_event_type event)
{
	static const char *const names[] = {
		[RDMA_CM_EVENT_ADDR_RESOLVED] = "FAKE address resolved",
		[RDMA_CM_EVENT_ROUTE_RESOLVED] = "FAKE route resolved",
		[RDMA_CM_EVENT_CONNECT_REQUEST] = "FAKE connect request",
		[RDMA_CM_EVENT_ESTABLISHED] = "FAKE established",
		[RDMA_CM_EVENT_REJECTED] = "FAKE rejected",
		[RDMA_CM_EVENT_UNREACHABLE] = "FAKE unreachable",
		[RDMA_CM_EVENT_DISCONNECTED] = "FAKE disconnected",
		[RDMA_CM_EVENT_TIMEWAIT_EXIT] = "FAKE end of time wait",
	};

	return names[event] ? names[event] : "FAKE event";
}
