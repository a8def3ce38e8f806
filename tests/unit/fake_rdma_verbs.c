/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libibverbs does: protection domains, memory regions, completion queues
 * and their channels.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/fake_rdma_inner.h"

struct ibv_pd *fake_ibv_alloc_pd(struct ibv_context *context)
{
	struct fake_pd *pd = wfs_calloc(1, sizeof(*pd));

	fake_lock();
	pd->base.context = context;
	pd->base.handle = fake_number();
	fake.live[FAKE_PD]++;
	fake_unlock();
	return &pd->base;
}

int fake_ibv_dealloc_pd(struct ibv_pd *base)
{
	struct fake_pd *pd = (struct fake_pd *)base;

	fake_lock();
	if (pd->users) {
		fake_misused("a protection domain goes with %u users",
			     pd->users);
		fake_unlock();
		return EBUSY;
	}
	fake.live[FAKE_PD]--;
	fake_unlock();
	free(pd);
	return 0;
}

/* 0, or why a device would not take it. */
static int refusal(struct fake_device *device, size_t len, int access)
{
	if (fake.refuse_times && !fake.refuse_skip) {
		fake.refuse_times--;
		return fake.refuse_error;
	}
	if (fake.refuse_skip)
		fake.refuse_skip--;
	if (!len || len > device->rail.region_max)
		return EINVAL;
	if (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC) &&
	    !(access & IBV_ACCESS_LOCAL_WRITE))
		return EINVAL;
	return len > device->rail.lockable - device->locked ? ENOMEM : 0;
}

/* The caller holds no lock; `map`: it is ours to unmap. */
static struct ibv_mr *add_mr(struct ibv_pd *pd, void *addr, size_t len,
			     uint64_t iova, int access, bool map)
{
	struct fake_device *device = fake_device_of(pd->context);
	struct fake_mr *mr;
	int error;

	fake_lock();
	error = refusal(device, len, access);
	if (error) {
		fake_unlock();
		errno = error;
		return NULL;
	}
	mr = wfs_calloc(1, sizeof(*mr));
	mr->base = (struct ibv_mr){ .context = pd->context,
				    .pd = pd,
				    .addr = addr,
				    .length = len,
				    .lkey = fake_number(),
				    .rkey = fake_number() };
	mr->iova = iova;
	mr->access = (unsigned)access;
	mr->map = map;
	mr->next = fake.mrs;
	fake.mrs = mr;
	device->locked += len;
	((struct fake_pd *)pd)->users++;
	fake.live[FAKE_MR]++;
	fake_unlock();
	return &mr->base;
}

struct ibv_mr *fake_ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t len,
				    uint64_t iova, int access)
{
	return add_mr(pd, addr, len, iova, access, false);
}

/* What stands for a dma-buf is a memfd, of which this is all. */
struct ibv_mr *fake_ibv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset,
				      size_t len, uint64_t iova, int fd,
				      int access)
{
	int error = fake_device_of(pd->context)->rail.dmabuf_error;
	struct ibv_mr *mr;
	void *map;

	fake_lock();
	fake.counts[FAKE_DMABUFS] += fd >= 0; /* else it only asks */
	fake_unlock();
	if (!error && access != IBV_ACCESS_LOCAL_WRITE)
		error = EINVAL; /* nobody is to read or write it from afar */
	if (error) {
		errno = error;
		return NULL;
	}
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   (off_t)offset);
	if (map == MAP_FAILED)
		return NULL;
	mr = add_mr(pd, map, len, iova, access, true);
	if (!mr) {
		error = errno;
		munmap(map, len);
		errno = error;
	}
	return mr;
}

int fake_ibv_dereg_mr(struct ibv_mr *base)
{
	struct fake_mr *mr = (struct fake_mr *)base, **at = &fake.mrs;

	fake_lock();
	while (*at && *at != mr)
		at = &(*at)->next;
	assert_non_null(*at);
	*at = mr->next;
	if (fake_is_target(mr))
		fake_misused("memory is deregistered that a READ goes to");
	fake_device_of(base->context)->locked -= base->length;
	((struct fake_pd *)base->pd)->users--;
	fake.live[FAKE_MR]--;
	fake_unlock();
	if (mr->map)
		munmap(base->addr, base->length);
	free(mr);
	return 0;
}

const struct fake_mr *fake_find_mr(const struct ibv_pd *pd, uint32_t key,
				   uint64_t at, uint64_t len, unsigned access)
{
	bool remote = access & IBV_ACCESS_REMOTE_READ;

	for (const struct fake_mr *mr = fake.mrs; mr; mr = mr->next)
		if ((remote ? mr->base.rkey : mr->base.lkey) == key &&
		    mr->base.pd == pd && (mr->access & access) == access &&
		    at >= mr->iova && len <= mr->base.length &&
		    at - mr->iova <= mr->base.length - len)
			return mr;
	return NULL;
}

struct ibv_comp_channel *fake_ibv_create_comp_channel(struct ibv_context *ctx)
{
	struct fake_comp_channel *channel = wfs_calloc(1, sizeof(*channel));

	channel->base.context = ctx;
	channel->base.fd = fake_counter();
	fake_lock();
	fake.live[FAKE_CHANNEL]++;
	fake_unlock();
	return &channel->base;
}

int fake_ibv_destroy_comp_channel(struct ibv_comp_channel *base)
{
	struct fake_comp_channel *channel = (struct fake_comp_channel *)base;

	fake_lock();
	if (channel->users) {
		fake_misused("a channel goes with %u completion queues",
			     channel->users);
		fake_unlock();
		return EBUSY;
	}
	fake.live[FAKE_CHANNEL]--;
	fake_unlock();
	close(base->fd);
	free(channel->events);
	free(channel);
	return 0;
}

struct ibv_cq *fake_ibv_create_cq(struct ibv_context *context, int size,
				  void *cq_context,
				  struct ibv_comp_channel *channel, int vector)
{
	struct fake_cq *cq;

	if (size < 1 || vector) {
		errno = EINVAL;
		return NULL;
	}
	cq = wfs_calloc(1, sizeof(*cq));
	cq->base.context = context;
	cq->base.channel = channel;
	cq->base.cq_context = cq_context;
	cq->base.cqe = size;
	cq->size = (unsigned)size;
	cq->entries = wfs_calloc(cq->size, sizeof(*cq->entries));
	fake_lock();
	if (channel)
		((struct fake_comp_channel *)channel)->users++;
	fake.live[FAKE_CQ]++;
	fake_unlock();
	return &cq->base;
}

/* Events of a queue that goes are nobody's. */
static void forget_cq(struct fake_comp_channel *channel,
		      const struct fake_cq *cq)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < channel->count; i++) {
		if (channel->events[i] == cq)
			fake_counter_take(channel->base.fd);
		else
			channel->events[kept++] = channel->events[i];
	}
	channel->count = kept;
	channel->users--;
}

int fake_ibv_destroy_cq(struct ibv_cq *base)
{
	struct fake_cq *cq = (struct fake_cq *)base;

	fake_lock();
	if (cq->users || cq->unacked)
		fake_misused("a completion queue goes with %u users, %u events "
			     "not acknowledged",
			     cq->users, cq->unacked);
	if (cq->users) {
		fake_unlock();
		return EBUSY;
	}
	if (base->channel)
		forget_cq((struct fake_comp_channel *)base->channel, cq);
	fake.live[FAKE_CQ]--;
	fake_unlock();
	free(cq->entries);
	free(cq);
	return 0;
}

int fake_ibv_get_cq_event(struct ibv_comp_channel *base, struct ibv_cq **ret_cq,
			  void **ret_context)
{
	struct fake_comp_channel *channel = (struct fake_comp_channel *)base;
	uint64_t one;

	if (read(base->fd, &one, sizeof(one)) != sizeof(one))
		return -1;
	fake_lock();
	*ret_cq = &channel->events[0]->base;
	*ret_context = (*ret_cq)->cq_context;
	channel->events[0]->unacked++;
	channel->count--;
	memmove(channel->events, channel->events + 1,
		channel->count * sizeof(struct fake_cq *));
	fake_unlock();
	return 0;
}

void fake_ibv_ack_cq_events(struct ibv_cq *base, unsigned n)
{
	fake_lock();
	((struct fake_cq *)base)->unacked -= n;
	fake_unlock();
}

int fake_req_notify_cq(struct ibv_cq *base, int solicited_only)
{
	(void)solicited_only;
	fake_lock();
	((struct fake_cq *)base)->armed = true;
	fake_unlock();
	return 0;
}

static void add_entry(struct fake_cq *cq, const struct fake_cqe *cqe)
{
	struct fake_comp_channel *channel = (void *)cq->base.channel;

	if (cq->used == cq->size) {
		fake_misused("a completion queue of %u overflows", cq->size);
		return;
	}
	cq->entries[cq->used++] = *cqe;
	if (!cq->armed || !channel)
		return;
	cq->armed = false;
	fake.counts[FAKE_ALLOCATIONS]++;
	channel->events =
		wfs_realloc(channel->events, (channel->count + 1) * sizeof(cq));
	channel->events[channel->count++] = cq;
	fake_counter_add(channel->base.fd);
}

void fake_complete(struct fake_cq *cq, const struct fake_cqe *cqe, bool swap)
{
	if (swap && !cq->has_late) {
		cq->late = *cqe;
		cq->has_late = true;
		return;
	}
	add_entry(cq, cqe);
	if (cq->has_late) {
		cq->has_late = false;
		add_entry(cq, &cq->late);
	}
}

int fake_poll_cq(struct ibv_cq *base, int n, struct ibv_wc *wc)
{
	struct fake_cq *cq = (struct fake_cq *)base;
	unsigned taken = 0;

	fake_lock();
	while (taken < cq->used && taken < (unsigned)n) {
		const struct fake_cqe *cqe = &cq->entries[taken];
		struct fake_qp *qp = fake_qp_of(cqe->wc.qp_num);

		if (qp)
			qp->used -= cqe->retires;
		wc[taken++] = cqe->wc;
	}
	cq->used -= taken;
	memmove(cq->entries, cq->entries + taken,
		cq->used * sizeof(*cq->entries));
	/* No broadcast: this is polled all the time. */
	pthread_mutex_unlock(&fake.lock);
	return (int)taken;
}
