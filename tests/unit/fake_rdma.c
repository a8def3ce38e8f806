/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fake_rdma.h.
 */
#include "tests/unit/t.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cond.h"
#include "core/base/mem.h"
#include "tests/unit/fake_rdma_inner.h"

#define FIRST_ADDRESS 0xc0000201u /* 192.0.2.1, for documentation */
#define FIRST_NUMBER  0x100u
#define FIRST_PORT    20000
#define GENEROUS      16u
#define WAIT_NS	      60000000000ull

struct fake_world fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const kinds[FAKE_OBJECTS] = { "pd", "mr", "cq",
						 "qp", "id", "channel" };

static const struct wfs_verbs table = {
#define FAKE_MEMBER(name) .name = fake_##name,
	WFS_IBVERBS_CALLS(FAKE_MEMBER) WFS_IBVERBS_NEW_CALLS(FAKE_MEMBER)
		WFS_RDMACM_CALLS(FAKE_MEMBER)
#undef FAKE_MEMBER
			.node_of = fake_node_of,
	.is_near = fake_is_near,
};

/* In place of the libraries'. */
const struct wfs_verbs *wfs_verbs_load(struct wfs_err *err)
{
	bool open;

	fake_lock();
	open = fake.open;
	fake_unlock();
	if (open)
		return &table;
	wfs_err_set(err, -ENODEV, "no RDMA device, not even a FAKE one");
	return NULL;
}

void fake_lock(void)
{
	pthread_mutex_lock(&fake.lock);
}

void fake_unlock(void)
{
	if (fake.open)
		pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

int fake_fail(int error)
{
	errno = error;
	return -1;
}

void fake_misused(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("FAKE device misused: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	fake.misuses++;
}

/* No number is ever used again, for keys of what is gone are to be wrong. */
uint32_t fake_number(void)
{
	return fake.next_number++;
}

struct fake_device *fake_device_of(const struct ibv_context *context)
{
	for (size_t i = 0; i < fake.device_count; i++)
		if (&fake.devices[i].context == context)
			return &fake.devices[i];
	fail_msg("a context that is not of a FAKE device");
	return NULL;
}

struct fake_device *fake_device_at(const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const void *)address;

	for (size_t i = 0; i < fake.device_count; i++)
		if (address->sa_family == AF_INET && !fake.devices[i].nowhere &&
		    fake.devices[i].address.s_addr == v4->sin_addr.s_addr)
			return &fake.devices[i];
	return NULL;
}

static void make_device(struct fake_device *device, unsigned index,
			const struct fake_rail *rail)
{
	static const struct fake_rail generous;

	*device = (struct fake_device){ .rail = rail ? *rail : generous };
	rail = &device->rail;
	if (!rail->reads)
		device->rail.reads = GENEROUS;
	if (!rail->reads_init)
		device->rail.reads_init = rail->reads;
	if (!rail->region_max)
		device->rail.region_max = UINT64_MAX;
	if (!rail->lockable)
		device->rail.lockable = UINT64_MAX;
	snprintf(device->base.name, sizeof(device->base.name), "FAKE%u", index);
	if (!rail->mtu)
		device->rail.mtu = IBV_MTU_4096;
	device->address.s_addr = htonl(FIRST_ADDRESS + index);
	device->context = (struct ibv_context){
		.device = &device->base,
		.ops = { .poll_cq = fake_poll_cq,
			 .req_notify_cq = fake_req_notify_cq,
			 .post_send = fake_post_send },
		.cmd_fd = -1,
		.async_fd = fake_counter(),
		.num_comp_vectors = 1,
	};
}

void fake_rdma_open(const struct fake_rail *rails, size_t n)
{
	assert_false(fake.open);
	assert_in_range(n, 1, FAKE_RAILS_MAX);
	fake = (struct fake_world){ .device_count = n,
				    .next_number = FIRST_NUMBER,
				    .next_port = FIRST_PORT,
				    .memory_node = FAKE_ANY,
				    .open = true };
	pthread_mutex_init(&fake.lock, NULL);
	wfs_cond_init(&fake.changed);
	for (unsigned i = 0; i < n; i++)
		make_device(&fake.devices[i], i, rails ? &rails[i] : NULL);
	assert_int_equal(pthread_create(&fake.wire, NULL, fake_wire, NULL), 0);
}

void fake_rdma_close(void)
{
	unsigned left[FAKE_OBJECTS];

	fake_lock();
	fake.stop = true;
	for (size_t i = 0; i < fake.device_count; i++) {
		close(fake.devices[i].context.async_fd);
		if (fake.devices[i].unacked)
			fake_misused("events of a device not acknowledged");
	}
	memcpy(left, fake.live, sizeof(left));
	fake_unlock();
	pthread_join(fake.wire, NULL);
	fake.open = false;
	pthread_cond_destroy(&fake.changed);
	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		if (left[i])
			fail_msg("%u objects are left of FAKE %s", left[i],
				 kinds[i]);
	assert_int_equal(fake.misuses, 0);
}

unsigned fake_rdma_live(void)
{
	unsigned all = 0;

	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		all += fake_rdma_live_of(kinds[i]);
	return all;
}

unsigned fake_rdma_live_of(const char *kind)
{
	unsigned n = 0;

	fake_lock();
	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		if (!strcmp(kinds[i], kind))
			n = fake.live[i];
	fake_unlock();
	return n;
}

void fake_rdma_inject(const struct fake_fault *fault)
{
	fake_lock();
	assert_true(fake.fault_count < FAKE_FAULTS);
	fake.faults[fake.fault_count++] = *fault;
	fake_unlock();
}

void fake_rdma_heal(void)
{
	fake_lock();
	fake.fault_count = 0;
	fake_unlock();
}

bool fake_take_fault(const struct fake_qp *qp, const struct fake_wr *wr,
		     struct fake_fault *ret_fault)
{
	int device = (int)(fake_device_of(qp->base.context) - fake.devices);

	for (size_t i = 0; i < fake.fault_count; i++) {
		struct fake_fault *fault = &fake.faults[i];

		if ((fault->device != FAKE_ANY && fault->device != device) ||
		    wr->len < fault->least || wr->released)
			continue;
		if (fault->skip) {
			fault->skip--;
			continue;
		}
		*ret_fault = *fault;
		if (fault->times && !--fault->times)
			*fault = fake.faults[--fake.fault_count];
		return true;
	}
	return false;
}

void fake_rdma_refuse(int error, unsigned skip, unsigned times)
{
	fake_lock();
	fake.refuse_error = error;
	fake.refuse_skip = skip;
	fake.refuse_times = times;
	fake_unlock();
}

void fake_rdma_answer(enum fake_answer answer, unsigned times)
{
	fake_lock();
	fake.answer = answer;
	fake.answer_times = times;
	fake_unlock();
}

bool fake_take_answer(enum fake_answer answer)
{
	if (!fake.answer_times || fake.answer != answer)
		return false;
	fake.answer_times--;
	return true;
}

static unsigned count_locked(enum fake_count what)
{
	unsigned n = fake.counts[what];

	for (const struct fake_qp *qp = fake.qps; qp; qp = qp->next) {
		if (what == FAKE_HOLDS)
			n += qp->head && qp->head->held;
		else if (what == FAKE_RELEASES)
			n += qp->head && qp->head->released;
		else if (what == FAKE_WRITABLE)
			n += qp->base.state == IBV_QPS_RTS &&
			     qp->access & IBV_ACCESS_REMOTE_WRITE;
	}
	return n;
}

unsigned fake_rdma_count(enum fake_count what)
{
	unsigned n;

	fake_lock();
	n = count_locked(what);
	fake_unlock();
	return n;
}

unsigned fake_rdma_reads(size_t device)
{
	unsigned n;

	fake_lock();
	n = fake.devices[device].reads;
	fake_unlock();
	return n;
}

void fake_rdma_await(enum fake_count what, unsigned at_least)
{
	uint64_t until = wfs_now_ns() + WAIT_NS;
	unsigned n;

	fake_lock();
	while ((n = count_locked(what)) < at_least && wfs_now_ns() < until)
		wfs_cond_wait_until(&fake.changed, &fake.lock, until);
	fake_unlock();
	if (n < at_least)
		fail_msg("waited for %u of FAKE count %d, had %u", at_least,
			 (int)what, n);
}

/* What a test's machine has for addresses: those of the FAKE devices. */
struct address {
	struct ifaddrs base;
	struct sockaddr_in in, mask;
};

static char interface_name[] = "FAKE";

int getifaddrs(struct ifaddrs **ret)
{
	int (*real)(struct ifaddrs **);
	struct address *all;
	struct ifaddrs **last = ret;
	size_t n;

	fake_lock();
	n = fake.open ? fake.device_count : 0;
	if (!n) {
		fake_unlock();
		*(void **)&real = dlsym(RTLD_NEXT, "getifaddrs");
		return real(ret);
	}
	all = wfs_calloc(2 * n + 1, sizeof(*all));
	for (size_t i = 0; i < 2 * n; i++) {
		const struct fake_device *device = &fake.devices[i / 2];

		if (i % 2 && !device->rail.twice)
			continue;
		all[i].in = (struct sockaddr_in){
			.sin_family = AF_INET,
			.sin_addr = device->address,
		};
		all[i].mask.sin_addr.s_addr =
			htonl((uint32_t)(~0ull << (32 - device->rail.prefix)));
		all[i].base = (struct ifaddrs){
			.ifa_name = interface_name,
			.ifa_flags = device->nowhere ? 0 : IFF_UP,
			.ifa_addr = (struct sockaddr *)&all[i].in,
			.ifa_netmask = device->rail.prefix ?
					       (struct sockaddr *)&all[i].mask :
					       NULL,
		};
		*last = &all[i].base;
		last = &all[i].base.ifa_next;
	}
	fake_unlock();
	return 0;
}

void freeifaddrs(struct ifaddrs *all)
{
	void (*real)(struct ifaddrs *);

	if (all && all->ifa_name == interface_name) {
		free(all);
		return;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "freeifaddrs");
	real(all);
}
