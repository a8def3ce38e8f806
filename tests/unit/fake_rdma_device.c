/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libibverbs tells of devices: what they can, how they are, what befell
 * them; and the counters that are their descriptors.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/fake_rdma_inner.h"

int fake_counter(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
}

void fake_counter_add(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

void fake_counter_take(int fd)
{
	uint64_t one;

	assert_int_equal(read(fd, &one, sizeof(one)), sizeof(one));
}

const char *fake_ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

int fake_ibv_query_device(struct ibv_context *context,
			  struct ibv_device_attr *attr)
{
	const struct fake_device *device = fake_device_of(context);

	*attr = (struct ibv_device_attr){
		.max_mr_size = device->rail.region_max,
		.max_qp = 1 << 16,
		.max_qp_wr = 1 << 14,
		.max_sge = FAKE_SGES,
		.max_cq = 1 << 16,
		.max_cqe = 1 << 16,
		.max_mr = 1 << 20,
		.max_pd = 1 << 16,
		.max_qp_rd_atom = (int)device->rail.reads,
		.max_qp_init_rd_atom = (int)device->rail.reads_init,
		.phys_port_cnt = 1,
	};
	return 0;
}

const char *fake_ibv_wc_status_str(enum ibv_wc_status status)
{
	static const char *const names[] = {
		[IBV_WC_SUCCESS] = "FAKE success",
		[IBV_WC_LOC_LEN_ERR] = "FAKE local length error",
		[IBV_WC_LOC_QP_OP_ERR] = "FAKE local QP operation error",
		[IBV_WC_LOC_PROT_ERR] = "FAKE local protection error",
		[IBV_WC_WR_FLUSH_ERR] = "FAKE work request flushed",
		[IBV_WC_BAD_RESP_ERR] = "FAKE bad response error",
		[IBV_WC_LOC_ACCESS_ERR] = "FAKE local access error",
		[IBV_WC_REM_INV_REQ_ERR] = "FAKE remote invalid request error",
		[IBV_WC_REM_ACCESS_ERR] = "FAKE remote access error",
		[IBV_WC_REM_OP_ERR] = "FAKE remote operation error",
		[IBV_WC_RETRY_EXC_ERR] = "FAKE transport retry exceeded",
		[IBV_WC_RNR_RETRY_EXC_ERR] = "FAKE RNR retry exceeded",
		[IBV_WC_FATAL_ERR] = "FAKE fatal error",
		[IBV_WC_GENERAL_ERR] = "FAKE general error",
	};

	if ((size_t)status < sizeof(names) / sizeof(names[0]) && names[status])
		return names[status];
	return "FAKE unknown error";
}

int fake_ibv_query_port(struct ibv_context *context, uint8_t port,
			struct _compat_ibv_port_attr *ret)
{
	const struct fake_device *device = fake_device_of(context);
	struct ibv_port_attr *attr = (struct ibv_port_attr *)ret;

	if (port != 1)
		return EINVAL;
	fake_lock();
	attr->state = device->down ? IBV_PORT_DOWN : IBV_PORT_ACTIVE;
	attr->max_mtu = attr->active_mtu = device->rail.mtu;
	fake_unlock();
	return 0;
}

int fake_ibv_get_async_event(struct ibv_context *context,
			     struct ibv_async_event *ret_event)
{
	struct fake_device *device = fake_device_of(context);
	uint64_t one;

	if (read(context->async_fd, &one, sizeof(one)) != sizeof(one))
		return -1;
	fake_lock();
	*ret_event = device->events[0];
	device->event_count--;
	device->unacked++;
	memmove(device->events, device->events + 1,
		device->event_count * sizeof(device->events[0]));
	fake_unlock();
	return 0;
}

static void befall(struct fake_device *device, enum ibv_event_type type)
{
	struct ibv_async_event event = { .element.port_num = 1,
					 .event_type = type };

	if (type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_ACCESS_ERR ||
	    type == IBV_EVENT_QP_REQ_ERR) {
		struct fake_qp *qp = fake.qps;

		while (qp && (!qp->reads ||
			      fake_device_of(qp->base.context) != device))
			qp = qp->next;
		if (!qp)
			return;
		event.element.qp = &qp->base;
	}
	if (device->event_count == FAKE_ASYNC)
		return;
	device->events[device->event_count++] = event;
	fake_counter_add(device->context.async_fd);
}

void fake_rdma_befall(size_t device, enum ibv_event_type type)
{
	fake_lock();
	befall(&fake.devices[device], type);
	fake_unlock();
}

void fake_rdma_port(size_t device, bool up)
{
	struct fake_device *at = &fake.devices[device];

	fake_lock();
	if (at->down == up)
		befall(at, up ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR);
	at->down = !up;
	fake_unlock();
}

void fake_rdma_address(size_t device, bool has)
{
	fake_lock();
	fake.devices[device].nowhere = !has;
	befall(&fake.devices[device], IBV_EVENT_GID_CHANGE);
	fake_unlock();
}

void fake_rdma_memory_of(int node)
{
	fake_lock();
	fake.memory_node = node;
	fake_unlock();
}

int fake_node_of(const char *device)
{
	int node = -1;

	fake_lock();
	for (size_t i = 0; i < fake.device_count; i++)
		if (!strcmp(fake.devices[i].base.name, device))
			node = fake.devices[i].rail.node;
	fake_unlock();
	return node;
}

bool fake_is_near(int node)
{
	bool near;

	fake_lock();
	near = fake.memory_node == FAKE_ANY || fake.memory_node == node;
	fake_unlock();
	return near;
}

/* An event does not say of which device it is: of one that waits for it. */
void fake_ibv_ack_async_event(struct ibv_async_event *event)
{
	(void)event;
	fake_lock();
	for (size_t i = 0; i < fake.device_count; i++) {
		if (fake.devices[i].unacked) {
			fake.devices[i].unacked--;
			break;
		}
	}
	fake_unlock();
}

const char *fake_ibv_event_type_str(enum ibv_event_type event)
{
	if (event == IBV_EVENT_PORT_ERR)
		return "FAKE port error";
	if (event == IBV_EVENT_DEVICE_FATAL)
		return "FAKE device fatal";
	if (event == IBV_EVENT_QP_FATAL)
		return "FAKE queue pair fatal";
	return event == IBV_EVENT_PORT_ACTIVE ? "FAKE port active" :
						"FAKE event";
}

/* As recent kernels: what a device reads is not moved by a fork. */
enum ibv_fork_status fake_ibv_is_fork_initialized(void)
{
	return IBV_FORK_UNNEEDED;
}
