/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets nodes connect, and sees to it that their queue pairs end: when they go,
 * and when their session does, whatever they do.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"

#define LOOK_MS 1000

void wfs_export_end_conn(struct wfs_exporter *exporter, size_t at)
{
	struct rdma_cm_id *id = exporter->conns[at].id;
	uint64_t session = exporter->conns[at].session;

	exporter->verbs->rdma_disconnect(id);
	exporter->verbs->rdma_destroy_qp(id);
	exporter->verbs->rdma_destroy_id(id);
	pthread_mutex_lock(&exporter->lock);
	exporter->conns[at] = exporter->conns[--exporter->conn_count];
	wfs_export_count_conn_locked(exporter, session, -1);
	pthread_mutex_unlock(&exporter->lock);
}

/* conn_count: there is none. */
static size_t conn_of(const struct wfs_exporter *exporter,
		      const struct rdma_cm_id *id)
{
	size_t i = 0;

	while (i < exporter->conn_count && exporter->conns[i].id != id)
		i++;
	return i;
}

static void end_conn_of(struct wfs_exporter *exporter,
			const struct rdma_cm_id *id)
{
	size_t at = conn_of(exporter, id);

	if (at < exporter->conn_count)
		wfs_export_end_conn(exporter, at);
}

static struct export_rail *rail_of(struct wfs_exporter *exporter,
				   const struct rdma_cm_id *listener)
{
	for (size_t i = 0; i < exporter->rail_count; i++)
		if (listener && exporter->rails[i].base.id == listener)
			return &exporter->rails[i];
	return NULL;
}

/* A queue pair that can be read from, and does nothing by itself. */
static int accept_conn(struct wfs_exporter *exporter, struct rdma_cm_id *id,
		       const struct export_rail *rail, struct ibv_pd *pd,
		       const struct rdma_conn_param *asked)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = rail->cq,
		.recv_cq = rail->cq,
		.cap = { 1, 1, 1, 1, 0 },
	};
	/*
	 * As asked, or less: the other way round no READ would ever complete,
	 * and with more than the device can nothing is accepted.
	 */
	struct rdma_conn_param param = {
		.responder_resources = asked->responder_resources <
						       rail->reads ?
					       asked->responder_resources :
					       (uint8_t)rail->reads,
		.initiator_depth = asked->initiator_depth,
		.rnr_retry_count = 7,
	};

	if (exporter->verbs->rdma_create_qp(id, pd, &attr))
		return -errno;
	if (exporter->verbs->rdma_accept(id, &param)) {
		int rc = -errno;

		exporter->verbs->rdma_destroy_qp(id);
		return rc;
	}
	return 0;
}

static void on_request(struct wfs_exporter *exporter, struct rdma_cm_id *id,
		       const struct export_rail *rail,
		       const struct rdma_conn_param *asked)
{
	struct wfs_hello hello;
	unsigned domain = 0;
	int rc = wfs_hello_get(asked->private_data, asked->private_data_len,
			       &hello);

	if (!rc && (!rail || exporter->conn_count == WFS_EXPORT_CONNS))
		rc = -EBUSY;
	if (!rc &&
	    !wfs_export_may_connect(exporter, &hello, asked->qp_num, &domain))
		rc = -EACCES;
	if (!rc)
		rc = accept_conn(
			exporter, id, rail,
			exporter->domains[domain].pds[rail - exporter->rails],
			asked);
	if (rc) {
		wfs_debug("a node's RDMA connection is refused: %s",
			  strerror(-rc));
		exporter->verbs->rdma_reject(id, NULL, 0);
		exporter->verbs->rdma_destroy_id(id);
		return;
	}
	pthread_mutex_lock(&exporter->lock);
	exporter->conns[exporter->conn_count++] = (struct export_conn){
		.id = id,
		.session = hello.session,
		.serial = ++exporter->serial,
		.rail = (unsigned)(rail - exporter->rails),
		.domain = domain,
		.probed = hello.flags & WFS_HELLO_PROBED,
	};
	wfs_export_count_conn_locked(exporter, hello.session, 1);
	pthread_mutex_unlock(&exporter->lock);
}

/* Whoever connects might else be let write, where a region lets him. */
static void on_established(struct wfs_exporter *exporter, struct rdma_cm_id *id)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTS,
				    .qp_access_flags = IBV_ACCESS_REMOTE_READ };
	size_t at = conn_of(exporter, id);

	if (at == exporter->conn_count)
		return;
	exporter->conns[at].established = true;
	if (!exporter->verbs->ibv_modify_qp(id->qp, &attr,
					    IBV_QP_STATE | IBV_QP_ACCESS_FLAGS))
		return;
	/* Most often it is over already. */
	wfs_debug("an RDMA connection cannot be made read-only: %s",
		  strerror(errno));
	end_conn_of(exporter, id);
}

/* All of an event is copied: its id cannot go before it is acknowledged. */
static bool take_event(struct wfs_exporter *exporter)
{
	uint8_t hello[WFS_HELLO_BYTES] = { 0 };
	struct rdma_conn_param asked;
	struct rdma_cm_event *event;
	const struct export_rail *rail;
	enum rdma_cm_event_type what;
	struct rdma_cm_id *id;

	if (exporter->verbs->rdma_get_cm_event(exporter->events, &event))
		return false;
	what = event->event;
	id = event->id;
	asked = event->param.conn;
	rail = rail_of(exporter, event->listen_id);
	if (what == RDMA_CM_EVENT_CONNECT_REQUEST && asked.private_data) {
		if (asked.private_data_len > sizeof(hello))
			asked.private_data_len = sizeof(hello);
		memcpy(hello, asked.private_data, asked.private_data_len);
	}
	asked.private_data = hello;
	exporter->verbs->rdma_ack_cm_event(event);
	if (what == RDMA_CM_EVENT_CONNECT_REQUEST)
		on_request(exporter, id, rail, &asked);
	else if (what == RDMA_CM_EVENT_ESTABLISHED)
		on_established(exporter, id);
	else if (what == RDMA_CM_EVENT_DEVICE_REMOVAL && rail_of(exporter, id))
		wfs_export_lose_rail(
			exporter,
			(unsigned)(rail_of(exporter, id) - exporter->rails),
			"it was removed");
	else if (what != RDMA_CM_EVENT_TIMEWAIT_EXIT && !rail_of(exporter, id))
		end_conn_of(exporter, id);
	return true;
}

/* Ends what is over: sessions, their queue pairs, nobody's domains, the dead. */
static void look(struct wfs_exporter *exporter)
{
	wfs_export_expire(exporter);
	for (size_t i = exporter->conn_count; i-- > 0;)
		if (exporter->conns[i].failed_before ||
		    wfs_export_is_over(exporter, exporter->conns[i].session))
			wfs_export_end_conn(exporter, i);
		else
			exporter->conns[i].failed_before =
				exporter->conns[i].failed;
	wfs_export_prune_domains(exporter);
	wfs_export_probe(exporter);
}

void *wfs_export_connect(void *arg)
{
	struct wfs_exporter *exporter = arg;
	struct pollfd fds[2 + WFS_ASYNC_FDS] = {
		{ .fd = exporter->events->fd, .events = POLLIN },
		{ .fd = exporter->stop_fd, .events = POLLIN },
	};
	uint64_t looked = wfs_now_ns();

	while (!atomic_load(&exporter->stop)) {
		size_t n = 2 + wfs_async_fds(exporter->async, fds + 2);

		if (poll(fds, n, LOOK_MS) > 0)
			while (take_event(exporter))
				;
		wfs_export_take_async(exporter);
		wfs_export_find_rails(exporter);
		if (wfs_now_ns() - looked < LOOK_MS * 1000000ull)
			continue;
		looked = wfs_now_ns();
		look(exporter);
	}
	while (exporter->conn_count)
		wfs_export_end_conn(exporter, exporter->conn_count - 1);
	return NULL;
}
