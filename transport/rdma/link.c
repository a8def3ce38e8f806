/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See link.h.
 */
#include "transport/rdma/link.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "core/base/mem.h"

#define NS_PER_MS   1000000ull
#define STEP_MS	    2000 /* for each step of connecting */
#define CONNECT_MS  5000
#define SLICE_MS    100
#define SPIN_NS	    50000ull
#define ACK_TIMEOUT 16 /* 4.096 us * 2^16: a lost packet is sent again */

/* What a step of connecting ends with, and with what error if not. */
static int take_event(struct wfs_rdma_link *link, enum rdma_cm_event_type want)
{
	struct rdma_cm_event *event;
	enum rdma_cm_event_type got;
	int status;

	if (link->verbs->rdma_get_cm_event(link->events, &event))
		return errno == EAGAIN ? -EAGAIN : -errno;
	got = event->event;
	status = event->status;
	link->verbs->rdma_ack_cm_event(event);
	if (got == want)
		return 0;
	if (got == RDMA_CM_EVENT_REJECTED)
		return -EACCES;
	return status < 0 ? status : -ECONNREFUSED;
}

static int await(struct wfs_rdma_link *link, enum rdma_cm_event_type want,
		 const atomic_bool *stop)
{
	struct pollfd fd = { .fd = link->events->fd, .events = POLLIN };

	for (int left = CONNECT_MS; left > 0; left -= SLICE_MS) {
		int rc;

		if (atomic_load(stop))
			return -ESHUTDOWN;
		if (poll(&fd, 1, SLICE_MS) <= 0)
			continue;
		rc = take_event(link, want);
		if (rc != -EAGAIN)
			return rc;
	}
	return -ETIMEDOUT;
}

static int resolve(struct wfs_rdma_link *link, const struct wfs_rdma_way *way,
		   const atomic_bool *stop)
{
	union wfs_rdma_address to, from = way->from;
	uint8_t ack_timeout = ACK_TIMEOUT;
	int rc = wfs_rdma_address_parse(way->to.address, way->to.port, &to);

	if (rc)
		return rc;
	if (link->verbs->rdma_create_id(link->events, &link->id, NULL,
					RDMA_PS_TCP) ||
	    link->verbs->rdma_resolve_addr(
		    link->id, way->local < WFS_LOCALS_MAX ? &from.base : NULL,
		    &to.base, STEP_MS))
		return -errno;
	rc = await(link, RDMA_CM_EVENT_ADDR_RESOLVED, stop);
	if (rc)
		return rc;
	/* Older kernels do not know it, and use their own. */
	link->verbs->rdma_set_option(link->id, RDMA_OPTION_ID,
				     RDMA_OPTION_ID_ACK_TIMEOUT, &ack_timeout,
				     sizeof(ack_timeout));
	if (link->verbs->rdma_resolve_route(link->id, STEP_MS))
		return -errno;
	return await(link, RDMA_CM_EVENT_ROUTE_RESOLVED, stop);
}

static int make_queue_pair(struct wfs_rdma_link *link)
{
	const struct wfs_verbs *verbs = link->verbs;
	struct ibv_context *context = link->id->verbs;
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = WFS_LINK_WORK,
			 .max_recv_wr = 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	link->completions = verbs->ibv_create_comp_channel(context);
	if (!link->completions)
		return -errno;
	link->cq = verbs->ibv_create_cq(context, WFS_LINK_WORK + 1, NULL,
					link->completions, 0);
	if (!link->cq)
		return -errno;
	attr.send_cq = attr.recv_cq = link->cq;
	return verbs->rdma_create_qp(link->id, link->device->pd, &attr) ?
		       -errno :
		       0;
}

/* With less than one READ under way none would ever end, or fail. */
static int take_depth(struct wfs_rdma_link *link)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr = { 0 };

	if (link->verbs->ibv_query_qp(link->id->qp, &attr,
				      IBV_QP_MAX_QP_RD_ATOMIC, &init))
		return -errno;
	link->reads = attr.max_rd_atomic < WFS_LINK_WORK ? attr.max_rd_atomic :
							   WFS_LINK_WORK;
	return link->reads ? 0 : -EPROTO;
}

static int say_hello(struct wfs_rdma_link *link, const struct wfs_rdma_way *way,
		     const atomic_bool *stop)
{
	/* Writes of nothing are let in by librdmacm, and touch nothing. */
	struct wfs_hello hello = { .rail = (uint8_t)way->rail,
				   .flags = WFS_HELLO_PROBED,
				   .session = way->session,
				   .expires = way->expires };
	int reads = link->device->attr.max_qp_init_rd_atom;
	uint8_t bytes[WFS_HELLO_BYTES];
	struct rdma_conn_param param = {
		.private_data = bytes,
		.private_data_len = sizeof(bytes),
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	int rc;

	param.initiator_depth = reads < WFS_LINK_WORK ? (uint8_t)reads :
							WFS_LINK_WORK;
	if (getrandom(&hello.nonce, sizeof(hello.nonce), 0) !=
	    sizeof(hello.nonce))
		return -EIO;
	wfs_hello_sign(&hello, way->key, link->id->qp->qp_num);
	wfs_hello_put(&hello, bytes);
	if (link->verbs->rdma_connect(link->id, &param))
		return -errno;
	rc = await(link, RDMA_CM_EVENT_ESTABLISHED, stop);
	return rc ? rc : take_depth(link);
}

static void lose(struct wfs_local_link *local, int error)
{
	struct wfs_rdma_link *link =
		(struct wfs_rdma_link *)((char *)local -
					 offsetof(struct wfs_rdma_link, local));

	atomic_store(&link->lost, error);
	wfs_rdma_link_stop(link);
}

static void join(struct wfs_rdma_link *link, const struct wfs_rdma_way *way)
{
	link->local = (struct wfs_local_link){
		.lost = lose,
		.context = link->id->verbs,
		.qp_num = link->id->qp->qp_num,
		.index = way->local,
	};
	wfs_local_join(&link->local);
}

int wfs_rdma_link_open(struct wfs_rdma_link *link, const char *label,
		       const struct wfs_rdma_way *way, const atomic_bool *stop,
		       struct wfs_err *err)
{
	int rc = 0;

	*link = (struct wfs_rdma_link){ .stop_fd = -1 };
	link->verbs = wfs_verbs_load(err);
	if (!link->verbs)
		return err->code;
	link->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->events = wfs_verbs_channel(link->verbs);
	if (link->stop_fd < 0 || !link->events)
		rc = -errno;
	if (!rc)
		rc = resolve(link, way, stop);
	if (!rc)
		rc = wfs_rdma_device_of(link->verbs, link->id->verbs,
					&link->device, err);
	if (!rc)
		rc = make_queue_pair(link);
	if (!rc)
		rc = say_hello(link, way, stop);
	if (!rc)
		join(link, way);
	return rc ? wfs_err_set(err, rc,
				"seed '%s': no RDMA connection to %s port %u: "
				"%s",
				label, way->to.address, way->to.port,
				rc == -EACCES ? "it refuses our session" :
						strerror(-rc)) :
		    0;
}

int wfs_rdma_link_over(const struct wfs_rdma_link *link)
{
	/* All that comes on an established connection is its end. */
	struct pollfd fd = { .fd = link->events->fd, .events = POLLIN };
	int lost = atomic_load(&link->lost);

	if (lost)
		return lost;
	return poll(&fd, 1, 0) > 0 ? -ECONNRESET : 0;
}

/* Sleeps until something may have happened. */
static int nap(struct wfs_rdma_link *link, uint64_t until)
{
	struct pollfd fds[] = {
		{ .fd = link->completions->fd, .events = POLLIN },
		{ .fd = link->stop_fd, .events = POLLIN },
		{ .fd = link->events->fd, .events = POLLIN },
	};
	uint64_t now = wfs_now_ns();
	struct ibv_cq *cq;
	void *ctx;

	if (now >= until)
		return -ETIMEDOUT;
	if (poll(fds, 3, (int)((until - now) / NS_PER_MS) + 1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents)
		return atomic_load(&link->lost) ? atomic_load(&link->lost) :
						  -ECANCELED;
	if (fds[0].revents) {
		if (link->verbs->ibv_get_cq_event(link->completions, &cq, &ctx))
			return -errno;
		link->verbs->ibv_ack_cq_events(cq, 1);
		link->armed = false;
		return 0;
	}
	return wfs_rdma_link_over(link);
}

int wfs_rdma_link_wait(struct wfs_rdma_link *link, uint64_t timeout_ns,
		       struct ibv_wc *ret_wc)
{
	uint64_t began = wfs_now_ns();

	for (;;) {
		int n = ibv_poll_cq(link->cq, 1, ret_wc), rc;

		if (n)
			return n < 0 ? -EIO : 0;
		if (wfs_now_ns() - began < SPIN_NS)
			continue;
		if (!link->armed) {
			if (ibv_req_notify_cq(link->cq, 0))
				return -EIO;
			/* It may have come before that. */
			link->armed = true;
			continue;
		}
		rc = nap(link, began + timeout_ns);
		if (rc)
			return rc;
	}
}

void wfs_rdma_link_stop(const struct wfs_rdma_link *link)
{
	uint64_t one = 1;
	ssize_t n = write(link->stop_fd, &one, sizeof(one));

	(void)n; /* full: it was stopped before */
}

void wfs_rdma_link_cut(struct wfs_rdma_link *link)
{
	if (!link->id || !link->id->qp)
		return;
	link->verbs->rdma_disconnect(link->id);
	link->verbs->rdma_destroy_qp(link->id);
}

void wfs_rdma_link_close(struct wfs_rdma_link *link)
{
	const struct wfs_verbs *verbs = link->verbs;

	wfs_local_leave(&link->local);
	wfs_rdma_link_cut(link);
	if (link->cq)
		verbs->ibv_destroy_cq(link->cq);
	if (link->completions)
		verbs->ibv_destroy_comp_channel(link->completions);
	if (link->id)
		verbs->rdma_destroy_id(link->id);
	if (link->events)
		verbs->rdma_destroy_event_channel(link->events);
	if (link->stop_fd >= 0)
		close(link->stop_fd);
	*link = (struct wfs_rdma_link){ .stop_fd = -1 };
}
