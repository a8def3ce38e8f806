/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue pairs, and the thread that carries their READs out (and, to see who is
 * there, WRITEs of nothing).
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "tests/unit/fake_rdma_inner.h"

struct fake_qp *fake_qp_of(uint32_t number)
{
	for (struct fake_qp *qp = fake.qps; qp; qp = qp->next)
		if (qp->base.qp_num == number)
			return qp;
	return NULL;
}

struct ibv_qp *fake_qp_new(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct fake_qp *qp = wfs_calloc(1, sizeof(*qp));

	qp->base = (struct ibv_qp){ .context = pd->context,
				    .qp_context = attr->qp_context,
				    .pd = pd,
				    .send_cq = attr->send_cq,
				    .recv_cq = attr->recv_cq,
				    .qp_num = fake_number(),
				    .state = IBV_QPS_INIT,
				    .qp_type = attr->qp_type };
	qp->cap = attr->cap;
	qp->all_signaled = attr->sq_sig_all;
	qp->tail = &qp->head;
	qp->next = fake.qps;
	fake.qps = qp;
	((struct fake_pd *)pd)->users++;
	((struct fake_cq *)attr->send_cq)->users++;
	((struct fake_cq *)attr->recv_cq)->users++;
	fake.live[FAKE_QP]++;
	return &qp->base;
}

static void drop_head(struct fake_qp *qp)
{
	struct fake_wr *wr = qp->head;

	qp->head = wr->next;
	if (!qp->head)
		qp->tail = &qp->head;
	free(wr);
}

/* What is posted ends without a word, as it does on real ones. */
void fake_qp_free(struct ibv_qp *base)
{
	struct fake_qp *qp = (struct fake_qp *)base, **at = &fake.qps;

	while (*at != qp)
		at = &(*at)->next;
	*at = qp->next;
	while (qp->head)
		drop_head(qp);
	((struct fake_pd *)base->pd)->users--;
	((struct fake_cq *)base->send_cq)->users--;
	((struct fake_cq *)base->recv_cq)->users--;
	fake.live[FAKE_QP]--;
	free(qp);
}

/* The head is over: takes it off and says so, where it is to be said. */
static void finish(struct fake_qp *qp, enum ibv_wc_status status, bool swap)
{
	const struct fake_wr *wr = qp->head;
	struct fake_cqe cqe = {
		.wc = { .wr_id = wr->id,
			.status = status,
			.opcode = IBV_WC_RDMA_READ,
			.byte_len = wr->len,
			.qp_num = qp->base.qp_num },
	};
	bool told = wr->signaled || status != IBV_WC_SUCCESS;

	if (status == IBV_WC_SUCCESS)
		fake.counts[wr->writes ? FAKE_PROBES : FAKE_READS]++;
	else
		fake.counts[status == IBV_WC_WR_FLUSH_ERR ? FAKE_FLUSHES :
							    FAKE_FAILS]++;
	drop_head(qp);
	qp->silent++;
	if (!told)
		return;
	cqe.retires = qp->silent;
	qp->silent = 0;
	fake_complete((struct fake_cq *)qp->base.send_cq, &cqe, swap);
}

void fake_qp_break(struct fake_qp *qp)
{
	qp->base.state = IBV_QPS_ERR;
	while (qp->head)
		finish(qp, IBV_WC_WR_FLUSH_ERR, false);
}

bool fake_is_target(const struct fake_mr *mr)
{
	for (const struct fake_qp *qp = fake.qps; qp; qp = qp->next)
		for (const struct fake_wr *wr = qp->head; wr; wr = wr->next)
			for (int i = 0; i < wr->sge_count; i++)
				if (wr->sges[i].lkey == mr->base.lkey)
					return true;
	return false;
}

static struct fake_wr *copy_request(const struct fake_qp *qp,
				    const struct ibv_send_wr *wr)
{
	struct fake_wr *copy = wfs_calloc(1, sizeof(*copy));

	fake.counts[FAKE_ALLOCATIONS]++;
	copy->id = wr->wr_id;
	copy->writes = wr->opcode == IBV_WR_RDMA_WRITE;
	copy->remote = wr->wr.rdma.remote_addr;
	copy->rkey = wr->wr.rdma.rkey;
	copy->fenced = wr->send_flags & IBV_SEND_FENCE;
	copy->signaled = qp->all_signaled || wr->send_flags & IBV_SEND_SIGNALED;
	copy->sge_count = wr->num_sge;
	for (int i = 0; i < wr->num_sge; i++) {
		copy->sges[i] = wr->sg_list[i];
		copy->len += wr->sg_list[i].length;
	}
	return copy;
}

static int refusal(const struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	if (qp->base.state != IBV_QPS_RTS && qp->base.state != IBV_QPS_ERR)
		return EINVAL;
	/* Nobody writes anything; to write nothing shows who is there. */
	if ((wr->opcode != IBV_WR_RDMA_READ &&
	     (wr->opcode != IBV_WR_RDMA_WRITE || wr->num_sge)) ||
	    wr->num_sge < 0 || (unsigned)wr->num_sge > qp->cap.max_send_sge)
		return EINVAL;
	return qp->used == qp->cap.max_send_wr ? ENOMEM : 0;
}

int fake_post_send(struct ibv_qp *base, struct ibv_send_wr *wr,
		   struct ibv_send_wr **ret_bad)
{
	struct fake_qp *qp = (struct fake_qp *)base;
	int error = 0;

	fake_lock();
	for (; wr && !error; wr = wr->next) {
		error = refusal(qp, wr);
		if (error) {
			*ret_bad = wr;
			break;
		}
		*qp->tail = copy_request(qp, wr);
		qp->tail = &(*qp->tail)->next;
		qp->used++;
	}
	if (base->state == IBV_QPS_ERR)
		fake_qp_break(qp);
	fake_unlock();
	return error;
}

/* A word that its owner changes meanwhile is read whole, as by a device. */
static void copy_some(void *to, const void *from, uint32_t len)
{
	uint64_t word;

	if (len == sizeof(word) && (uintptr_t)from % sizeof(word) == 0) {
		word = __atomic_load_n((const uint64_t *)from,
				       __ATOMIC_SEQ_CST);
		memcpy(to, &word, len);
	} else {
		memcpy(to, from, len);
	}
}

static const struct fake_mr *ours(const struct fake_qp *qp,
				  const struct ibv_sge *sge)
{
	return fake_find_mr(qp->base.pd, sge->lkey, sge->addr, sge->length,
			    IBV_ACCESS_LOCAL_WRITE);
}

/* From the peer's memory into ours, all of it or the first half. */
static void copy_bytes(const struct fake_qp *qp, const struct fake_wr *wr,
		       const uint8_t *from, bool half)
{
	uint32_t left = half ? wr->len / 2 : wr->len;

	for (int i = 0; i < wr->sge_count && left; i++) {
		const struct ibv_sge *sge = &wr->sges[i];
		const struct fake_mr *mr = ours(qp, sge);
		uint32_t n = sge->length;

		if (n > left)
			n = left;
		copy_some((uint8_t *)mr->base.addr + (sge->addr - mr->iova),
			  from, n);
		from += n;
		left -= n;
	}
}

static enum ibv_wc_status carry(struct fake_qp *qp, const struct fake_wr *wr,
				bool half)
{
	struct fake_qp *peer = fake_qp_of(qp->peer);
	const struct fake_mr *mr;

	for (int i = 0; i < wr->sge_count; i++)
		if (!ours(qp, &wr->sges[i]))
			return IBV_WC_LOC_PROT_ERR;
	if (!peer || peer->base.state != IBV_QPS_RTS ||
	    peer->peer != qp->base.qp_num ||
	    fake_device_of(qp->base.context)->down ||
	    fake_device_of(peer->base.context)->down)
		return IBV_WC_RETRY_EXC_ERR;
	if (wr->writes && peer->access & IBV_ACCESS_REMOTE_WRITE)
		return IBV_WC_SUCCESS;
	if (wr->writes || !(peer->access & IBV_ACCESS_REMOTE_READ) ||
	    !peer->reads_for) {
		fake_qp_break(peer);
		return IBV_WC_REM_INV_REQ_ERR;
	}
	mr = fake_find_mr(peer->base.pd, wr->rkey, wr->remote, wr->len,
			  IBV_ACCESS_REMOTE_READ);
	if (!mr) {
		fake_qp_break(peer);
		return IBV_WC_REM_ACCESS_ERR;
	}
	copy_bytes(qp, wr,
		   (const uint8_t *)mr->base.addr + (wr->remote - mr->iova),
		   half);
	return IBV_WC_SUCCESS;
}

/* What is not fenced off may be fetched before what is asked for before it. */
static void carry_early(struct fake_qp *qp, struct fake_wr *wr)
{
	for (; wr && !wr->fenced && !wr->writes; wr = wr->next)
		wr->early = carry(qp, wr, false) == IBV_WC_SUCCESS;
}

static void hold(struct fake_qp *qp, struct fake_wr *wr)
{
	enum ibv_wc_status status = carry(qp, wr, true);

	wr->held = status == IBV_WC_SUCCESS;
	if (wr->held)
		carry_early(qp, wr->next);
	if (wr->held)
		return;
	finish(qp, status, false);
	fake_qp_break(qp);
}

static void execute(struct fake_qp *qp)
{
	struct fake_fault fault;
	struct fake_wr *wr = qp->head;
	bool any = !wr->writes && fake_take_fault(qp, wr, &fault);
	enum ibv_wc_status status;

	if (any && fault.kind == FAKE_HELD) {
		hold(qp, wr);
		return;
	}
	if (any && fault.kind == FAKE_STATUS)
		status = fault.status;
	else
		status = wr->early ? IBV_WC_SUCCESS : carry(qp, wr, false);
	if (status == IBV_WC_SUCCESS && !wr->writes)
		fake_device_of(qp->base.context)->reads++;
	if (any && fault.kind == FAKE_LOST && status == IBV_WC_SUCCESS) {
		drop_head(qp);
		qp->silent++;
		fake.counts[FAKE_LOSSES]++;
		return;
	}
	finish(qp, status, any && fault.kind == FAKE_SWAPPED);
	if (status != IBV_WC_SUCCESS)
		fake_qp_break(qp);
}

/* One with no READ allowed under way waits for ever, as was seen. */
static bool can_go(const struct fake_qp *qp)
{
	return qp->base.state == IBV_QPS_RTS && qp->head && !qp->head->held &&
	       (qp->reads || qp->head->writes);
}

void *fake_wire(void *unused)
{
	uint32_t last = 0;

	(void)unused;
	fake_lock();
	while (!fake.stop) {
		struct fake_qp *next = NULL;

		/* In turn: newer queue pairs come first in the list. */
		for (struct fake_qp *qp = fake.qps; qp; qp = qp->next) {
			if (!can_go(qp))
				continue;
			if (!next || qp->base.qp_num < last)
				next = qp;
			if (qp->base.qp_num < last)
				break;
		}
		if (!next) {
			pthread_cond_wait(&fake.changed, &fake.lock);
			continue;
		}
		last = next->base.qp_num;
		execute(next);
		fake_unlock();
		fake_lock();
	}
	fake_unlock();
	return unused;
}

void fake_rdma_release(void)
{
	fake_lock();
	for (struct fake_qp *qp = fake.qps; qp; qp = qp->next) {
		if (qp->head && qp->head->held) {
			qp->head->held = false;
			qp->head->released = true;
		}
	}
	fake_unlock();
}

int fake_ibv_query_qp(struct ibv_qp *base, struct ibv_qp_attr *attr, int mask,
		      struct ibv_qp_init_attr *init)
{
	const struct fake_qp *qp = (const struct fake_qp *)base;

	(void)mask;
	fake_lock();
	*attr = (struct ibv_qp_attr){
		.qp_state = base->state,
		.cur_qp_state = base->state,
		.qp_access_flags = qp->access,
		.dest_qp_num = qp->peer,
		.max_rd_atomic = (uint8_t)qp->reads,
		.max_dest_rd_atomic = (uint8_t)qp->reads_for,
		.cap = qp->cap,
	};
	*init = (struct ibv_qp_init_attr){ .send_cq = base->send_cq,
					   .recv_cq = base->recv_cq,
					   .cap = qp->cap,
					   .qp_type = base->qp_type };
	fake_unlock();
	return 0;
}

/* To the error state, or other rights; what else there is librdmacm does. */
int fake_ibv_modify_qp(struct ibv_qp *base, struct ibv_qp_attr *attr, int mask)
{
	struct fake_qp *qp = (struct fake_qp *)base;
	int error = 0;

	fake_lock();
	if (mask & IBV_QP_STATE && attr->qp_state == IBV_QPS_ERR)
		fake_qp_break(qp);
	else if (mask & IBV_QP_STATE &&
		 (attr->qp_state != IBV_QPS_RTS || base->state != IBV_QPS_RTS))
		error = EINVAL;
	if (!error && mask & IBV_QP_ACCESS_FLAGS)
		qp->access = attr->qp_access_flags;
	fake_unlock();
	errno = error;
	return error;
}
