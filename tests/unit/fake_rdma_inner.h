/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the FAKE devices share; nobody else includes it.
 *
 *	fake_rdma.c	   the world of a test: devices, faults, counts
 *	fake_rdma_device.c what libibverbs tells of devices
 *	fake_rdma_verbs.c  what else libibverbs does, but for READs
 *	fake_rdma_wire.c   queue pairs, and the thread that carries READs out
 *	fake_rdma_cm.c	   what librdmacm does
 *	fake_rdma_events.c its channels and their events
 */
#ifndef WFS_TESTS_UNIT_FAKE_RDMA_INNER_H
#define WFS_TESTS_UNIT_FAKE_RDMA_INNER_H

#include <netinet/in.h>
#include <pthread.h>

#include "tests/unit/fake_rdma.h"

#define FAKE_SGES     4
#define FAKE_FAULTS   16
#define FAKE_DATA_MAX 196 /* private data of an event */
#define FAKE_ASK_DATA 56  /* of a request */
#define FAKE_ASYNC    64  /* events of a device */

enum fake_object {
	FAKE_PD,
	FAKE_MR,
	FAKE_CQ,
	FAKE_QP,
	FAKE_ID,
	FAKE_CHANNEL, /* of either sort */
	FAKE_OBJECTS,
};

struct fake_device {
	struct ibv_device base;
	struct ibv_context context;
	struct fake_rail rail;
	struct in_addr address;
	uint64_t locked; /* bytes that are registered */
	unsigned reads;
	bool down, nowhere; /* without an address */
	/* Its context's async_fd counts these: the oldest first. */
	struct ibv_async_event events[FAKE_ASYNC];
	unsigned event_count, unacked;
};

struct fake_pd {
	struct ibv_pd base;
	unsigned users; /* of it: regions and queue pairs */
};

struct fake_mr {
	struct ibv_mr base;
	struct fake_mr *next;
	uint64_t iova;
	unsigned access;
	bool map;
};

struct fake_cqe {
	struct ibv_wc wc;
	uint32_t retires; /* places of the queue pair's that it frees */
};

struct fake_cq {
	struct ibv_cq base;
	struct fake_cqe *entries;
	unsigned used, size;
	struct fake_cqe late; /* swapped with the next */
	bool has_late, armed;
	unsigned users;	  /* queue pairs, a side each */
	unsigned unacked; /* events */
};

/* Its base's fd counts what lies in `events`. */
struct fake_comp_channel {
	struct ibv_comp_channel base;
	struct fake_cq **events;
	unsigned count, users;
};

struct fake_wr {
	struct fake_wr *next;
	uint64_t id, remote;
	struct ibv_sge sges[FAKE_SGES];
	int sge_count;
	uint32_t rkey, len;
	bool writes, signaled, fenced, held, released;
	bool early; /* it was carried already */
};

struct fake_qp {
	struct ibv_qp base;
	struct fake_qp *next;
	struct ibv_qp_cap cap;
	bool all_signaled;
	unsigned access, reads, reads_for; /* under way: ours, the peer's */
	uint32_t peer;			   /* its number; 0: none */
	struct fake_wr *head, **tail;
	unsigned used;	 /* of cap.max_send_wr */
	unsigned silent; /* of these that no completion has retired */
};

struct fake_id;

struct fake_event {
	struct rdma_cm_event base;
	struct fake_event *next;
	struct fake_id *of; /* who is not destroyed before it is acked */
	uint8_t data[FAKE_DATA_MAX];
};

/* Its fd counts its events. */
struct fake_channel {
	struct rdma_event_channel base;
	struct fake_event *events;
	unsigned users;
};

enum fake_state {
	FAKE_IDLE,
	FAKE_BOUND,
	FAKE_LISTENING,
	FAKE_ASKING, /* and ASKED: its peer */
	FAKE_ASKED,
	FAKE_CONNECTED,
	FAKE_LEAVING, /* asked the peer to disconnect */
	FAKE_LEFT,    /* was asked */
	FAKE_OVER,
};

struct fake_id {
	struct rdma_cm_id base;
	struct fake_id *next, *peer;
	struct fake_device *device;
	enum fake_state state;
	uint16_t port; /* its own, of the host's order */
	bool told;     /* somebody knows of it: else it is its event's */
	bool no_depth; /* see FAKE_NO_DEPTH */
	unsigned unacked;
	unsigned reads; /* as it asked for */
};

struct fake_world {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	bool open, stop;
	pthread_t wire;
	struct fake_device devices[FAKE_RAILS_MAX];
	size_t device_count;
	int memory_node;
	struct fake_mr *mrs;
	struct fake_qp *qps;
	struct fake_id *ids;
	struct fake_fault faults[FAKE_FAULTS];
	size_t fault_count;
	int refuse_error;
	unsigned refuse_skip, refuse_times;
	enum fake_answer answer;
	unsigned answer_times;
	uint32_t next_number;
	uint16_t next_port;
	unsigned live[FAKE_OBJECTS], counts[FAKE_COUNTS], misuses;
};
extern struct fake_world fake;

void fake_lock(void);
/* Whoever waits for anything looks again. */
void fake_unlock(void);
int fake_fail(int error); /* sets errno; -1 */

/* All that follow want the lock, but for the calls themselves. */
__attribute__((format(printf, 1, 2))) void fake_misused(const char *format,
							...);
uint32_t fake_number(void);
struct fake_device *fake_device_of(const struct ibv_context *context);
struct fake_device *fake_device_at(const struct sockaddr *address);
int fake_node_of(const char *device);
bool fake_is_near(int node);
bool fake_take_fault(const struct fake_qp *qp, const struct fake_wr *wr,
		     struct fake_fault *ret_fault);
bool fake_take_answer(enum fake_answer answer);

/* Of an eventfd that counts. */
int fake_counter(void);
void fake_counter_add(int fd);
void fake_counter_take(int fd);

/* NULL: nothing of that protection domain has the key and all the bytes. */
const struct fake_mr *fake_find_mr(const struct ibv_pd *pd, uint32_t key,
				   uint64_t at, uint64_t len, unsigned access);
void fake_complete(struct fake_cq *cq, const struct fake_cqe *cqe, bool swap);

struct fake_qp *fake_qp_of(uint32_t number);
struct ibv_qp *fake_qp_new(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
void fake_qp_free(struct ibv_qp *qp);
/* To the error state: all that is posted is flushed. */
void fake_qp_break(struct fake_qp *qp);
/* Is any READ that is under way going to that memory? */
bool fake_is_target(const struct fake_mr *mr);
void *fake_wire(void *unused);

/* `data` may be NULL. */
struct fake_event *fake_tell(struct fake_id *id, enum rdma_cm_event_type type,
			     int status);
/* Events of it that nobody got. */
void fake_forget_events(struct fake_id *id);
void fake_id_free(struct fake_id *id);

int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
		   struct ibv_send_wr **bad);
int fake_poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc);
int fake_req_notify_cq(struct ibv_cq *cq, int solicited_only);

/* The calls of the libraries; see there. */
#define FAKE_DECLARE(name) __typeof__(name) fake_##name;
WFS_IBVERBS_CALLS(FAKE_DECLARE)
WFS_IBVERBS_NEW_CALLS(FAKE_DECLARE)
WFS_RDMACM_CALLS(FAKE_DECLARE)
#undef FAKE_DECLARE

#endif
