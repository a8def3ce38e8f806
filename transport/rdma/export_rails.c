/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exporter's ports: opened, watched while they are, opened again.
 *
 * A port that is down keeps what is registered on its device and who listens
 * there, and nodes are not told of it; a device that is gone takes everything
 * with it, and is listened on anew when it is there again.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"

#define NS_PER_S 1000000000ull
#define BACKLOG	 64
#define AGAIN_NS NS_PER_S /* from one look for lost ones to the next */

static void say(const struct wfs_exporter *exporter,
		const struct export_rail *rail)
{
	if (rail->up)
		wfs_info("RDMA: '%s' at %s port %u", rail->base.device,
			 rail->base.address,
			 ntohs(exporter->verbs->rdma_get_src_port(
				 rail->base.id)));
	else
		wfs_warn("RDMA: '%s' at %s: its port is down: seeded over TCP "
			 "until it returns",
			 rail->base.device, rail->base.address);
}

/* One that cannot listen is left out. */
static bool open_rail(struct wfs_exporter *exporter, struct wfs_rail *base,
		      struct export_rail *ret_rail)
{
	struct export_rail rail = { .base = *base };
	const struct wfs_verbs *verbs = exporter->verbs;
	struct ibv_device_attr attr = { 0 };
	struct ibv_context *context = base->id->verbs;

	if (!verbs->ibv_query_device(context, &attr)) {
		rail.region_max = attr.max_mr_size;
		rail.reads = attr.max_qp_rd_atom;
	}
	/* Of each queue pair one at most, and some that are gone. */
	rail.cq = verbs->ibv_create_cq(context,
				       attr.max_cqe > 2 * WFS_EXPORT_CONNS ?
					       2 * WFS_EXPORT_CONNS :
					       attr.max_cqe,
				       NULL, NULL, 0);
	if (rail.cq && !verbs->rdma_listen(base->id, BACKLOG)) {
		wfs_async_add(exporter->async, context);
		rail.up = wfs_rail_is_active(verbs, base);
		*ret_rail = rail;
		if (!rail.up)
			exporter->bind_at = wfs_now_ns() + AGAIN_NS;
		say(exporter, &rail);
		return true;
	}
	wfs_warn("RDMA: '%s' at %s cannot be listened on: %s", base->device,
		 base->address, strerror(errno));
	if (rail.cq)
		verbs->ibv_destroy_cq(rail.cq);
	verbs->rdma_destroy_id(base->id);
	return false;
}

int wfs_export_open_rails(struct wfs_exporter *exporter, struct wfs_err *err)
{
	struct wfs_rail rails[WFS_RAILS_MAX];
	size_t n;
	int rc = wfs_async_open(exporter->verbs, &exporter->async);

	if (rc)
		return wfs_err_set(err, rc, "no eventfd: %s", strerror(-rc));
	exporter->events = wfs_verbs_channel(exporter->verbs);
	if (!exporter->events)
		return wfs_err_set(err, -ENODEV,
				   "no RDMA connections can be made: %s",
				   strerror(errno));
	n = wfs_rails_bind(exporter->verbs, exporter->events, rails);
	for (size_t i = 0; i < n; i++)
		exporter->rail_count +=
			open_rail(exporter, &rails[i],
				  &exporter->rails[exporter->rail_count]);
	return exporter->rail_count ?
		       0 :
		       wfs_err_set(err, -ENODEV,
				   "no RDMA device has an address that can be "
				   "listened on");
}

static void close_rail(struct wfs_exporter *exporter, struct export_rail *rail)
{
	if (!rail->base.id)
		return;
	wfs_async_drop(exporter->async, rail->base.id->verbs);
	exporter->verbs->rdma_destroy_id(rail->base.id);
	exporter->verbs->ibv_destroy_cq(rail->cq);
	rail->base.id = NULL;
	rail->cq = NULL;
	rail->up = false;
}

void wfs_export_close_rails(struct wfs_exporter *exporter)
{
	for (size_t i = 0; i < exporter->rail_count; i++)
		close_rail(exporter, &exporter->rails[i]);
	wfs_async_close(wfs_steal_ptr(&exporter->async));
}

void wfs_export_lose_rail(struct wfs_exporter *exporter, unsigned at,
			  const char *why)
{
	struct export_rail *rail = &exporter->rails[at];

	if (!rail->base.id)
		return;
	wfs_warn("RDMA: '%s' at %s is gone: %s: seeded over TCP until it "
		 "returns",
		 rail->base.device, rail->base.address, why);
	for (size_t i = exporter->conn_count; i-- > 0;)
		if (exporter->conns[i].rail == at)
			wfs_export_end_conn(exporter, i);
	pthread_mutex_lock(&exporter->domains_lock);
	wfs_export_leave_rail(exporter, at);
	pthread_mutex_lock(&exporter->lock);
	close_rail(exporter, rail);
	pthread_mutex_unlock(&exporter->lock);
	pthread_mutex_unlock(&exporter->domains_lock);
	exporter->bind_at = wfs_now_ns() + AGAIN_NS;
}

/* The one of that port; rail_count: it is new. */
static unsigned slot_of(const struct wfs_exporter *exporter,
			const struct wfs_rail *base)
{
	unsigned i = 0;

	while (i < exporter->rail_count &&
	       !wfs_rail_is_same(&exporter->rails[i].base, base))
		i++;
	return i;
}

/* Its device was there all the time, and so was who listens. */
static void offer_again(struct wfs_exporter *exporter, struct export_rail *rail)
{
	if (rail->up || !rail->base.id ||
	    !wfs_rail_is_active(exporter->verbs, &rail->base))
		return;
	pthread_mutex_lock(&exporter->lock);
	rail->up = true;
	pthread_mutex_unlock(&exporter->lock);
	say(exporter, rail);
}

static void open_again(struct wfs_exporter *exporter, unsigned at,
		       struct wfs_rail *base)
{
	struct export_rail rail;

	if (!open_rail(exporter, base, &rail))
		return;
	pthread_mutex_lock(&exporter->domains_lock);
	pthread_mutex_lock(&exporter->lock);
	exporter->rails[at] = rail;
	if (at == exporter->rail_count)
		exporter->rail_count++;
	pthread_mutex_unlock(&exporter->lock);
	if (!wfs_export_join_rail(exporter, at)) {
		wfs_export_leave_rail(exporter, at);
		pthread_mutex_lock(&exporter->lock);
		close_rail(exporter, &exporter->rails[at]);
		pthread_mutex_unlock(&exporter->lock);
	}
	pthread_mutex_unlock(&exporter->domains_lock);
}

static void find_lost(struct wfs_exporter *exporter)
{
	struct wfs_rail found[WFS_RAILS_MAX];
	size_t n = wfs_rails_bind(exporter->verbs, exporter->events, found);

	for (size_t i = 0; i < n; i++) {
		unsigned at = slot_of(exporter, &found[i]);

		if (at < WFS_RAILS_MAX && !exporter->rails[at].base.id)
			open_again(exporter, at, &found[i]);
		else
			exporter->verbs->rdma_destroy_id(found[i].id);
	}
}

void wfs_export_find_rails(struct wfs_exporter *exporter)
{
	bool missing = false, lost = false;

	if (!exporter->bind_at || wfs_now_ns() < exporter->bind_at)
		return;
	for (size_t i = 0; i < exporter->rail_count; i++) {
		offer_again(exporter, &exporter->rails[i]);
		lost |= !exporter->rails[i].base.id;
	}
	if (lost)
		find_lost(exporter);
	for (size_t i = 0; i < exporter->rail_count; i++)
		missing |= !exporter->rails[i].up;
	exporter->bind_at = missing ? wfs_now_ns() + AGAIN_NS : 0;
}

static void port_event(struct wfs_exporter *exporter,
		       const struct ibv_context *context, int port, bool down)
{
	for (size_t i = 0; i < exporter->rail_count; i++) {
		struct export_rail *rail = &exporter->rails[i];

		if (!rail->base.id || rail->base.id->verbs != context ||
		    rail->base.port != port)
			continue;
		exporter->bind_at = wfs_now_ns();
		if (!down || !rail->up)
			continue;
		pthread_mutex_lock(&exporter->lock);
		rail->up = false;
		pthread_mutex_unlock(&exporter->lock);
		say(exporter, rail);
	}
}

static void device_event(struct wfs_exporter *exporter,
			 const struct ibv_context *context, const char *what)
{
	for (unsigned i = 0; i < exporter->rail_count; i++)
		if (exporter->rails[i].base.id &&
		    exporter->rails[i].base.id->verbs == context)
			wfs_export_lose_rail(exporter, i, what);
}

static void queue_pair_event(struct wfs_exporter *exporter,
			     const struct wfs_async_event *event)
{
	for (size_t i = 0; i < exporter->conn_count; i++) {
		const struct rdma_cm_id *id = exporter->conns[i].id;

		if (id->verbs != event->context ||
		    id->qp->qp_num != event->qp_num)
			continue;
		wfs_info("RDMA: a node's connection on '%s' ends: %s",
			 exporter->rails[exporter->conns[i].rail].base.device,
			 event->what);
		/* The node is to hear why first. */
		exporter->conns[i].failed = true;
		return;
	}
}

void wfs_export_take_async(struct wfs_exporter *exporter)
{
	struct wfs_async_event event;

	while (wfs_async_next(exporter->async, &event)) {
		if (event.error)
			device_event(exporter, event.context,
				     strerror(event.error));
		else if (event.type == IBV_EVENT_DEVICE_FATAL)
			device_event(exporter, event.context, event.what);
		else if (event.type == IBV_EVENT_PORT_ERR ||
			 event.type == IBV_EVENT_PORT_ACTIVE)
			port_event(exporter, event.context, event.port,
				   event.type == IBV_EVENT_PORT_ERR);
		else if (wfs_async_ends_qp(&event))
			queue_pair_event(exporter, &event);
		else
			wfs_debug("RDMA: %s", event.what);
	}
}
