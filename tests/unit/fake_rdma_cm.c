/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What librdmacm does: connections, made and ended within the process.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "tests/unit/fake_rdma_inner.h"

#define NO_LISTENER 8  /* IB_CM_REJ_INVALID_SERVICE_ID */
#define REFUSED	    28 /* IB_CM_REJ_CONSUMER_DEFINED */

static struct fake_id *id_new(struct rdma_event_channel *channel, void *context)
{
	struct fake_id *id = wfs_calloc(1, sizeof(*id));

	id->base.channel = channel;
	id->base.context = context;
	id->base.ps = RDMA_PS_TCP;
	id->base.qp_type = IBV_QPT_RC;
	id->next = fake.ids;
	fake.ids = id;
	((struct fake_channel *)channel)->users++;
	fake.live[FAKE_ID]++;
	return id;
}

static void set_device(struct fake_id *id, struct fake_device *device)
{
	id->device = device;
	id->base.verbs = &device->context;
	id->base.port_num = 1;
	if (!id->port)
		id->port = fake.next_port++;
	id->base.route.addr.src_sin = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(id->port),
		.sin_addr = device->address,
	};
}

int fake_rdma_create_id(struct rdma_event_channel *channel,
			struct rdma_cm_id **ret_id, void *context,
			enum rdma_port_space ps)
{
	assert_int_equal(ps, RDMA_PS_TCP);
	fake_lock();
	*ret_id = &id_new(channel, context)->base;
	((struct fake_id *)*ret_id)->told = true;
	fake_unlock();
	return 0;
}

/* The other side of a connection, or of the making of one, learns of an end. */
static void leave_peer(struct fake_id *id)
{
	struct fake_id *peer = id->peer;

	if (!peer)
		return;
	id->peer = peer->peer = NULL;
	if (peer->state == FAKE_CONNECTED) {
		peer->state = FAKE_LEFT;
		fake_tell(peer, RDMA_CM_EVENT_DISCONNECTED, 0);
	} else if (peer->state == FAKE_LEAVING) {
		peer->state = FAKE_OVER;
		fake_tell(peer, RDMA_CM_EVENT_DISCONNECTED, 0);
		fake_tell(peer, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
	} else if (peer->state == FAKE_ASKING || peer->state == FAKE_ASKED) {
		peer->state = FAKE_OVER;
		fake_tell(peer, RDMA_CM_EVENT_REJECTED, REFUSED);
	}
}

void fake_id_free(struct fake_id *id)
{
	struct fake_id **at = &fake.ids;

	leave_peer(id);
	fake_forget_events(id);
	if (id->base.qp || id->unacked)
		fake_misused("a connection goes with %s, %u events not "
			     "acknowledged",
			     id->base.qp ? "its queue pair" : "no queue pair",
			     id->unacked);
	while (*at != id)
		at = &(*at)->next;
	*at = id->next;
	((struct fake_channel *)id->base.channel)->users--;
	fake.live[FAKE_ID]--;
	free(id);
}

int fake_rdma_destroy_id(struct rdma_cm_id *id)
{
	fake_lock();
	fake_id_free((struct fake_id *)id);
	fake_unlock();
	return 0;
}

int fake_rdma_set_option(struct rdma_cm_id *id, int level, int name,
			 void *value, size_t len)
{
	(void)id;
	(void)name;
	(void)value;
	return level == RDMA_OPTION_ID && len ? 0 : fake_fail(EINVAL);
}

int fake_rdma_bind_addr(struct rdma_cm_id *base, struct sockaddr *address)
{
	struct fake_id *id = (struct fake_id *)base;
	struct fake_device *device;
	int error = 0;

	fake_lock();
	device = fake_device_at(address);
	if (!device || id->state != FAKE_IDLE) {
		error = device ? EINVAL : ENODEV;
	} else {
		id->port = ntohs(
			((struct sockaddr_in *)(void *)address)->sin_port);
		set_device(id, device);
		id->state = FAKE_BOUND;
	}
	fake_unlock();
	return error ? fake_fail(error) : 0;
}

__be16 fake_rdma_get_src_port(struct rdma_cm_id *base)
{
	return base->route.addr.src_sin.sin_port;
}

int fake_rdma_listen(struct rdma_cm_id *base, int backlog)
{
	struct fake_id *id = (struct fake_id *)base;
	bool bound;

	(void)backlog;
	fake_lock();
	bound = id->state == FAKE_BOUND;
	if (bound)
		id->state = FAKE_LISTENING;
	fake_unlock();
	return bound ? 0 : fake_fail(EINVAL);
}

int fake_rdma_resolve_addr(struct rdma_cm_id *base, struct sockaddr *from,
			   struct sockaddr *to, int timeout_ms)
{
	struct fake_id *id = (struct fake_id *)base;
	struct fake_device *far, *near;

	(void)timeout_ms;
	fake_lock();
	far = fake_device_at(to);
	near = from ? fake_device_at(from) : far;
	if (id->device)
		near = id->device;
	if (!far || !near || near->down) {
		fake_tell(id, RDMA_CM_EVENT_ADDR_ERROR, -ENETUNREACH);
	} else {
		if (!id->device)
			set_device(id, near);
		memcpy(&base->route.addr.dst_sin, to,
		       sizeof(struct sockaddr_in));
		fake_tell(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0);
	}
	fake_unlock();
	return 0;
}

int fake_rdma_resolve_route(struct rdma_cm_id *base, int timeout_ms)
{
	(void)timeout_ms;
	fake_lock();
	if (fake_take_answer(FAKE_NO_ROUTE))
		fake_tell((struct fake_id *)base, RDMA_CM_EVENT_ROUTE_ERROR,
			  -ENETUNREACH);
	else
		fake_tell((struct fake_id *)base, RDMA_CM_EVENT_ROUTE_RESOLVED,
			  0);
	fake_unlock();
	return 0;
}

int fake_rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd,
			struct ibv_qp_init_attr *attr)
{
	if (id->qp || !pd || id->verbs != pd->context || !attr->send_cq ||
	    !attr->recv_cq || attr->cap.max_send_sge > FAKE_SGES)
		return fake_fail(EINVAL);
	fake_lock();
	id->qp = fake_qp_new(pd, attr);
	id->pd = pd;
	fake_unlock();
	return 0;
}

void fake_rdma_destroy_qp(struct rdma_cm_id *id)
{
	fake_lock();
	fake_qp_free(id->qp);
	id->qp = NULL;
	fake_unlock();
}

static bool is_valid(const struct fake_id *id,
		     const struct rdma_conn_param *param, size_t data)
{
	const struct fake_rail *rail = &id->device->rail;

	return id->base.qp && param->private_data_len <= data &&
	       (param->responder_resources == RDMA_MAX_RESP_RES ||
		param->responder_resources <= rail->reads) &&
	       (param->initiator_depth == RDMA_MAX_INIT_DEPTH ||
		param->initiator_depth <= rail->reads_init);
}

static struct fake_id *find_listener(const struct sockaddr_in *to)
{
	const struct fake_device *device = fake_device_at((const void *)to);

	for (struct fake_id *id = fake.ids; id; id = id->next)
		if (id->state == FAKE_LISTENING && id->device == device &&
		    id->port == ntohs(to->sin_port))
			return id;
	return NULL;
}

static void request(struct fake_id *id, struct fake_id *listener,
		    const struct rdma_conn_param *param)
{
	struct fake_id *other =
		id_new(listener->base.channel, listener->base.context);
	struct fake_event *event =
		fake_tell(listener, RDMA_CM_EVENT_CONNECT_REQUEST, 0);

	set_device(other, listener->device);
	other->state = FAKE_ASKED;
	other->peer = id;
	id->state = FAKE_ASKING;
	id->peer = other;
	id->reads = param->initiator_depth == RDMA_MAX_INIT_DEPTH ?
			    id->device->rail.reads_init :
			    param->initiator_depth;
	if (param->private_data)
		memcpy(event->data, param->private_data,
		       param->private_data_len);
	event->base.id = &other->base;
	event->base.listen_id = &listener->base;
	event->base.param.conn = (struct rdma_conn_param){
		.private_data = event->data,
		.private_data_len = FAKE_ASK_DATA,
		.responder_resources = (uint8_t)id->reads,
		.initiator_depth = param->responder_resources,
		.retry_count = param->retry_count,
		.rnr_retry_count = param->rnr_retry_count,
		.qp_num = id->base.qp->qp_num,
	};
}

int fake_rdma_connect(struct rdma_cm_id *base, struct rdma_conn_param *param)
{
	struct fake_id *id = (struct fake_id *)base, *listener;

	if (!id->device || !is_valid(id, param, FAKE_ASK_DATA))
		return fake_fail(EINVAL);
	fake_lock();
	listener = find_listener(&base->route.addr.dst_sin);
	id->no_depth = fake_take_answer(FAKE_NO_DEPTH);
	if (id->device->down || fake_take_answer(FAKE_UNREACHABLE))
		fake_tell(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT);
	else if (!listener)
		fake_tell(id, RDMA_CM_EVENT_REJECTED, NO_LISTENER);
	else if (!fake_take_answer(FAKE_SILENT))
		request(id, listener, param);
	fake_unlock();
	return 0;
}

static void ready(struct fake_id *id, unsigned reads, unsigned reads_for)
{
	struct fake_qp *qp = (struct fake_qp *)id->base.qp;
	struct fake_event *event;

	id->state = FAKE_CONNECTED;
	qp->base.state = IBV_QPS_RTS;
	qp->peer = id->peer->base.qp->qp_num;
	qp->reads = id->no_depth ? 0 : reads;
	qp->reads_for = reads_for;
	/* As the kernel wants it, until somebody says otherwise. */
	qp->access = IBV_ACCESS_REMOTE_WRITE |
		     (reads_for ? IBV_ACCESS_REMOTE_READ : 0);
	event = fake_tell(id, RDMA_CM_EVENT_ESTABLISHED, 0);
	event->base.param.conn.private_data = event->data;
	event->base.param.conn.private_data_len = FAKE_DATA_MAX;
}

int fake_rdma_accept(struct rdma_cm_id *base, struct rdma_conn_param *param)
{
	struct fake_id *id = (struct fake_id *)base;
	bool asked;

	if (!is_valid(id, param, FAKE_DATA_MAX))
		return fake_fail(EINVAL);
	fake_lock();
	asked = id->state == FAKE_ASKED && id->peer->base.qp;
	if (asked) {
		ready(id->peer, param->responder_resources,
		      param->initiator_depth);
		ready(id, param->initiator_depth, param->responder_resources);
		fake.counts[FAKE_CONNECTIONS]++;
	}
	fake_unlock();
	return asked ? 0 : fake_fail(EINVAL);
}

int fake_rdma_reject(struct rdma_cm_id *base, const void *data, uint8_t len)
{
	struct fake_id *id = (struct fake_id *)base;
	bool asked;

	(void)data;
	(void)len;
	fake_lock();
	asked = id->state == FAKE_ASKED;
	leave_peer(id);
	fake_unlock();
	return asked ? 0 : fake_fail(EINVAL);
}

int fake_rdma_disconnect(struct rdma_cm_id *base)
{
	struct fake_id *id = (struct fake_id *)base;
	bool connected;

	fake_lock();
	connected = id->state == FAKE_CONNECTED || id->state == FAKE_LEFT;
	if (base->qp && connected)
		fake_qp_break((struct fake_qp *)base->qp);
	if (id->state == FAKE_CONNECTED) {
		id->state = FAKE_LEAVING;
		id->peer->state = FAKE_LEFT;
		fake_tell(id->peer, RDMA_CM_EVENT_DISCONNECTED, 0);
	} else if (id->state == FAKE_LEFT) {
		id->state = FAKE_OVER;
		leave_peer(id);
		fake_tell(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
	}
	fake_unlock();
	return connected ? 0 : fake_fail(EINVAL);
}
