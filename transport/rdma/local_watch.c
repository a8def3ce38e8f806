/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches this node's ports.  Each has an id bound to its address, by which its
 * device's context is known and stays, and the device says when it goes.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/local_inner.h"

#define LOOK_MS 1000 /* between looks for what is not there */

static void say(const struct wfs_local *local, const char *why)
{
	if (local->up)
		wfs_info("RDMA: reading by '%s' at %s, NUMA node %d, %s",
			 local->device, local->address, local->node,
			 local->near ? "near to our memory" :
				       "far from our memory");
	else
		wfs_warn("RDMA: '%s' at %s: %s: nothing is read by it until it "
			 "returns",
			 local->device, local->address, why);
}

static void lose_links_locked(struct wfs_locals *all, unsigned index)
{
	for (struct wfs_local_link *l = all->links; l; l = l->next)
		if (l->index == index)
			l->lost(l, -ENETDOWN);
}

/* It works, or does not, and that is said when it changes. */
static void set_up(struct wfs_locals *all, unsigned index, bool up,
		   const char *why)
{
	struct wfs_local *local = &all->local[index];
	bool changed;

	pthread_mutex_lock(&all->lock);
	changed = local->up != up;
	local->up = up;
	if (changed && up)
		local->up_since = wfs_now_ns();
	if (changed && !up)
		lose_links_locked(all, index);
	pthread_mutex_unlock(&all->lock);
	if (changed)
		say(local, why);
}

static void describe(const struct wfs_verbs *verbs, const struct wfs_rail *rail,
		     struct wfs_local *local)
{
	memcpy(local->device, rail->device, sizeof(local->device));
	memcpy(local->address, rail->address, sizeof(local->address));
	local->prefix = rail->prefix;
	local->port = rail->port;
	local->node = verbs->node_of(rail->device);
	local->near = verbs->is_near(local->node);
	wfs_rdma_address_parse(rail->address, 0, &local->from);
}

static void drop_rail(struct wfs_locals *all, unsigned index)
{
	struct wfs_rail *rail = &all->rails[index];

	wfs_async_drop(all->async, rail->id->verbs);
	all->verbs->rdma_destroy_id(rail->id);
	rail->id = NULL;
}

static void lose(struct wfs_locals *all, unsigned index, const char *why)
{
	if (!all->rails[index].id)
		return;
	set_up(all, index, false, why);
	drop_rail(all, index);
}

/* Its place: the one that port has or had, or a new one. */
static unsigned place_of(const struct wfs_locals *all,
			 const struct wfs_rail *rail)
{
	unsigned i = 0;

	while (i < all->count && !wfs_rail_is_same(&all->rails[i], rail))
		i++;
	return i;
}

static void take_rail(struct wfs_locals *all, unsigned index,
		      const struct wfs_rail *rail)
{
	bool up = wfs_rail_is_active(all->verbs, rail);

	wfs_async_add(all->async, rail->id->verbs);
	all->rails[index] = *rail;
	pthread_mutex_lock(&all->lock);
	describe(all->verbs, rail, &all->local[index]);
	if (index == all->count)
		all->count++;
	pthread_mutex_unlock(&all->lock);
	set_up(all, index, up, "its port is down");
}

/* A port that has an address: false where it is taken, or there is no room. */
static bool take_found(struct wfs_locals *all, const struct wfs_rail *rail,
		       unsigned at)
{
	if (at >= WFS_LOCALS_MAX)
		return false;
	if (at < all->count && strcmp(all->rails[at].address, rail->address))
		lose(all, at, "it has another address");
	if (all->rails[at].id)
		return false;
	take_rail(all, at, rail);
	return true;
}

/* What has an address now, as it has it. */
static void look(struct wfs_locals *all)
{
	struct wfs_rail found[WFS_LOCALS_MAX];
	size_t n = wfs_rails_bind(all->verbs, all->events, found);
	bool seen[WFS_LOCALS_MAX + 1] = { 0 };

	all->look = false;
	for (size_t i = 0; i < n; i++) {
		unsigned at = place_of(all, &found[i]);

		seen[at] = true;
		if (!take_found(all, &found[i], at))
			all->verbs->rdma_destroy_id(found[i].id);
	}
	for (unsigned i = 0; i < all->count; i++)
		if (!seen[i])
			lose(all, i, "it has no address any more");
}

static void look_at_ports(struct wfs_locals *all)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->rails[i].id)
			set_up(all, i,
			       wfs_rail_is_active(all->verbs, &all->rails[i]),
			       "its port is down");
}

static bool is_missing(const struct wfs_locals *all)
{
	for (unsigned i = 0; i < all->count; i++)
		if (!all->local[i].up)
			return true;
	return false;
}

static void lose_device(struct wfs_locals *all,
			const struct ibv_context *context, const char *why)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->rails[i].id && all->rails[i].id->verbs == context)
			lose(all, i, why);
}

/*
 * It was down, and what was known of the ways by it is over, also where it is up
 * again by the time that it is looked at.
 */
static void lose_port(struct wfs_locals *all,
		      const struct wfs_async_event *event)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->rails[i].id &&
		    all->rails[i].id->verbs == event->context &&
		    all->rails[i].port == event->port)
			set_up(all, i, false, "its port is down");
}

static void lose_queue_pair(struct wfs_locals *all,
			    const struct wfs_async_event *event)
{
	const struct wfs_local_link *found = NULL;

	pthread_mutex_lock(&all->lock);
	for (struct wfs_local_link *l = all->links; l && !found; l = l->next) {
		if (l->context != event->context || l->qp_num != event->qp_num)
			continue;
		found = l;
		l->lost(l, -ECONNABORTED);
	}
	pthread_mutex_unlock(&all->lock);
	if (found)
		wfs_info("RDMA: a connection to a seed ends: %s", event->what);
}

static void take_async(struct wfs_locals *all)
{
	struct wfs_async_event event;

	while (wfs_async_next(all->async, &event)) {
		if (event.error)
			lose_device(all, event.context, strerror(event.error));
		else if (event.type == IBV_EVENT_DEVICE_FATAL)
			lose_device(all, event.context, event.what);
		else if (event.type == IBV_EVENT_PORT_ERR)
			lose_port(all, &event);
		else if (event.type == IBV_EVENT_GID_CHANGE)
			all->look = true;
		else if (wfs_async_ends_qp(&event))
			lose_queue_pair(all, &event);
	}
}

/* All that comes to an id that is only bound is that its device is removed. */
static void take_removals(struct wfs_locals *all)
{
	struct rdma_cm_event *event;

	while (!all->verbs->rdma_get_cm_event(all->events, &event)) {
		bool removed = event->event == RDMA_CM_EVENT_DEVICE_REMOVAL;
		const struct rdma_cm_id *id = event->id;

		all->verbs->rdma_ack_cm_event(event);
		for (unsigned i = 0; removed && i < all->count; i++)
			if (all->rails[i].id == id)
				lose(all, i, "its device was removed");
	}
}

static void *watch(void *arg)
{
	struct wfs_locals *all = arg;
	struct pollfd fds[2 + WFS_ASYNC_FDS] = {
		{ .fd = all->stop_fd, .events = POLLIN },
		{ .fd = all->events->fd, .events = POLLIN },
	};

	for (;;) {
		size_t n = 2 + wfs_async_fds(all->async, fds + 2);

		if (poll(fds, n, is_missing(all) ? LOOK_MS : -1) < 0 &&
		    errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		take_removals(all);
		take_async(all);
		if (all->look || is_missing(all))
			look(all);
		look_at_ports(all);
	}
}

static void close_all(struct wfs_locals *all)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->rails[i].id)
			drop_rail(all, i);
	wfs_async_close(wfs_steal_ptr(&all->async));
	if (all->events)
		all->verbs->rdma_destroy_event_channel(
			wfs_steal_ptr(&all->events));
	if (all->stop_fd >= 0)
		close(wfs_steal_fd(&all->stop_fd));
	memset(all->rails, 0, sizeof(all->rails));
}

static bool start_thread(struct wfs_locals *all)
{
	sigset_t set, old;
	bool started;

	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	started = !pthread_create(&all->thread, NULL, watch, all);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return started;
}

bool wfs_locals_watch_locked(struct wfs_locals *all,
			     const struct wfs_verbs *verbs)
{
	struct wfs_rail *rails = all->rails;

	all->verbs = verbs;
	all->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	all->events = wfs_verbs_channel(verbs);
	if (all->stop_fd >= 0 && all->events &&
	    !wfs_async_open(verbs, &all->async)) {
		all->count = wfs_rails_bind(verbs, all->events, rails);
		for (unsigned i = 0; i < all->count; i++) {
			struct wfs_local *local = &all->local[i];

			describe(verbs, &rails[i], local);
			wfs_async_add(all->async, rails[i].id->verbs);
			local->up = wfs_rail_is_active(verbs, &rails[i]);
			local->up_since = wfs_now_ns();
			say(local, "its port is down");
		}
		all->watched = all->count && start_thread(all);
	}
	if (!all->watched) {
		close_all(all);
		all->count = 0;
	}
	return all->watched;
}

void wfs_locals_unwatch(struct wfs_locals *all)
{
	uint64_t one = 1;

	if (!all->watched)
		return;
	if (write(all->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(all->thread, NULL);
	close_all(all);
	all->watched = false;
}
