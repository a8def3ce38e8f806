/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readloop FILES SIZE CHUNK LANES DEPTH: one-sided READs and nothing else.
 *
 * A child registers memory, over all rails of this machine; the parent reads
 * SIZE bytes of it FILES times, in chunks, over LANES queue pairs that each
 * have up to DEPTH under way, into as much memory as that needs.  What nobody
 * looks at: nothing is verified, allocated or told.  It prints the seconds.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "transport/rdma/verbs.h"

#define LANES_MAX 64
#define STEP_MS	  5000
#define READS_MAX 16

/* What the child tells the parent. */
struct offer {
	size_t rails;
	struct {
		struct sockaddr_storage to;
		uint32_t rkey;
	} rail[WFS_RAILS_MAX];
	uint64_t address;
};

struct device {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_comp_channel *completions;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
};

static const struct wfs_verbs *verbs;
static struct rdma_event_channel *events;

static void must(int truth, const char *what)
{
	if (truth)
		return;
	fprintf(stderr, "readloop: cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map(size_t len)
{
	void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(bytes != MAP_FAILED, "map memory");
	memset(bytes, 1, len);
	return bytes;
}

static struct device open_device(struct ibv_context *context, void *bytes,
				 size_t len, int access)
{
	struct device device = { .context = context };

	device.pd = verbs->ibv_alloc_pd(context);
	device.completions = verbs->ibv_create_comp_channel(context);
	must(device.pd && device.completions, "use a device");
	device.cq = verbs->ibv_create_cq(context, LANES_MAX * READS_MAX, NULL,
					 device.completions, 0);
	device.mr = verbs->ibv_reg_mr_iova(device.pd, bytes, len,
					   (uintptr_t)bytes, (unsigned)access);
	must(device.cq && device.mr, "register memory");
	return device;
}

static void add_queue_pair(struct rdma_cm_id *id, const struct device *device)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = device->cq,
		.recv_cq = device->cq,
		.cap = { READS_MAX + 1, 1, 1, 1, 0 },
	};

	must(!verbs->rdma_create_qp(id, device->pd, &attr),
	     "make a queue pair");
}

/* ---- the child */

static void answer(struct rdma_cm_event *event, const struct wfs_rail *rails,
		   const struct device *devices, size_t count)
{
	struct rdma_conn_param param = {
		.responder_resources = event->param.conn.responder_resources,
		.initiator_depth = event->param.conn.initiator_depth,
		.rnr_retry_count = 7,
	};
	struct rdma_cm_id *id = event->id;

	for (size_t i = 0; i < count; i++) {
		if (rails[i].id != event->listen_id)
			continue;
		add_queue_pair(id, &devices[i]);
		must(!verbs->rdma_accept(id, &param), "accept");
	}
}

static void serve(int to_parent, size_t size)
{
	struct device devices[WFS_RAILS_MAX];
	struct wfs_rail rails[WFS_RAILS_MAX];
	struct rdma_cm_event *event;
	struct offer offer = { 0 };
	struct pollfd fd;
	void *bytes = map(size);

	offer.rails = wfs_rails_bind(verbs, events, rails);
	offer.address = (uintptr_t)bytes;
	for (size_t i = 0; i < offer.rails; i++) {
		devices[i] = open_device(rails[i].id->verbs, bytes, size,
					 IBV_ACCESS_REMOTE_READ);
		must(!verbs->rdma_listen(rails[i].id, LANES_MAX), "listen");
		memcpy(&offer.rail[i].to, &rails[i].id->route.addr.src_storage,
		       sizeof(offer.rail[i].to));
		offer.rail[i].rkey = devices[i].mr->rkey;
	}
	must(write(to_parent, &offer, sizeof(offer)) == sizeof(offer),
	     "tell of our memory");
	fd = (struct pollfd){ .fd = events->fd, .events = POLLIN };
	while (poll(&fd, 1, -1) > 0) { /* until we are killed */
		if (verbs->rdma_get_cm_event(events, &event))
			continue;
		if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST)
			answer(event, rails, devices, offer.rails);
		verbs->rdma_ack_cm_event(event);
	}
}

/* ---- the parent */

static void await(enum rdma_cm_event_type want)
{
	struct pollfd fd = { .fd = events->fd, .events = POLLIN };
	struct rdma_cm_event *event;

	must(poll(&fd, 1, STEP_MS) > 0 &&
		     !verbs->rdma_get_cm_event(events, &event),
	     "connect in time");
	if (event->event != want)
		fprintf(stderr, "readloop: %s\n",
			verbs->rdma_event_str(event->event));
	must(event->event == want, "connect");
	verbs->rdma_ack_cm_event(event);
}

static struct device *device_of(struct device *devices,
				struct ibv_context *context, void *bytes,
				size_t len)
{
	size_t i = 0;

	while (devices[i].context && devices[i].context != context)
		i++;
	if (!devices[i].context)
		devices[i] = open_device(context, bytes, len,
					 IBV_ACCESS_LOCAL_WRITE);
	return &devices[i];
}

/* A lane, and where its slots are. */
struct lane {
	struct rdma_cm_id *id;
	struct device *device;
	uint32_t rkey;
	uint8_t *slots;
};

static void connect_lane(struct lane *lane, struct sockaddr_storage *to,
			 struct device *devices, void *bytes, size_t len)
{
	struct rdma_conn_param param = { .initiator_depth = READS_MAX,
					 .retry_count = 7,
					 .rnr_retry_count = 7 };

	must(!verbs->rdma_create_id(events, &lane->id, NULL, RDMA_PS_TCP) &&
		     !verbs->rdma_resolve_addr(lane->id, NULL,
					       (struct sockaddr *)to, STEP_MS),
	     "find the way");
	await(RDMA_CM_EVENT_ADDR_RESOLVED);
	must(!verbs->rdma_resolve_route(lane->id, STEP_MS), "find the route");
	await(RDMA_CM_EVENT_ROUTE_RESOLVED);
	lane->device = device_of(devices, lane->id->verbs, bytes, len);
	add_queue_pair(lane->id, lane->device);
	must(!verbs->rdma_connect(lane->id, &param), "connect");
	await(RDMA_CM_EVENT_ESTABLISHED);
}

struct job {
	uint64_t files, size, chunk, lanes, depth;
	uint64_t address;
	uint64_t next, end; /* bytes of all files, asked for */
};

static void post(struct job *job, struct lane *lane, uint64_t slot)
{
	uint64_t off = job->next % job->size;
	uint64_t len = job->chunk < job->size - off ? job->chunk :
						      job->size - off;
	struct ibv_sge part = { .addr = (uintptr_t)(lane->slots +
						    slot * job->chunk),
				.length = (uint32_t)len,
				.lkey = lane->device->mr->lkey };
	struct ibv_send_wr read = { .wr_id = slot,
				    .sg_list = &part,
				    .num_sge = 1,
				    .opcode = IBV_WR_RDMA_READ,
				    .send_flags = IBV_SEND_SIGNALED };
	struct ibv_send_wr *bad;

	read.wr.rdma.remote_addr = job->address + off;
	read.wr.rdma.rkey = lane->rkey;
	job->next += len;
	must(!ibv_post_send(lane->id->qp, &read, &bad), "post a READ");
}

static struct lane *lane_of(struct lane *lanes, uint32_t queue_pair)
{
	while (lanes->id->qp->qp_num != queue_pair)
		lanes++;
	return lanes;
}

/* All completions that are there; how many. */
static uint64_t reap(struct job *job, struct lane *lanes, struct device *device)
{
	struct ibv_wc done[READS_MAX];
	uint64_t count = 0;
	int n;

	while ((n = ibv_poll_cq(device->cq, READS_MAX, done)) > 0) {
		for (int i = 0; i < n; i++) {
			if (done[i].status)
				fprintf(stderr, "readloop: %s\n",
					verbs->ibv_wc_status_str(
						done[i].status));
			must(!done[i].status, "read");
			if (job->next < job->end)
				post(job, lane_of(lanes, done[i].qp_num),
				     done[i].wr_id);
		}
		count += (uint64_t)n;
	}
	must(n == 0, "poll");
	return count;
}

static void nap(struct device *devices)
{
	struct pollfd fds[WFS_RAILS_MAX];
	struct ibv_cq *cq;
	nfds_t n = 0;
	void *ctx;

	for (; devices[n].context; n++)
		fds[n] = (struct pollfd){ .fd = devices[n].completions->fd,
					  .events = POLLIN };
	must(poll(fds, n, 10 * STEP_MS) > 0, "get an answer in time");
	for (nfds_t i = 0; i < n; i++) {
		if (!fds[i].revents)
			continue;
		must(!verbs->ibv_get_cq_event(devices[i].completions, &cq,
					      &ctx),
		     "take an event");
		verbs->ibv_ack_cq_events(cq, 1);
		must(!ibv_req_notify_cq(cq, 0), "wait");
	}
}

static uint64_t count_chunks(const struct job *job)
{
	return job->files * ((job->size + job->chunk - 1) / job->chunk);
}

static double run(struct job *job, struct lane *lanes, struct device *devices)
{
	uint64_t left = count_chunks(job), began = wfs_now_ns();

	for (size_t i = 0; devices[i].context; i++)
		must(!ibv_req_notify_cq(devices[i].cq, 0), "wait");
	for (uint64_t slot = 0; slot < job->depth; slot++)
		for (uint64_t i = 0; i < job->lanes; i++)
			if (job->next < job->end)
				post(job, &lanes[i], slot);
	for (;;) {
		uint64_t done = 0;

		for (size_t i = 0; devices[i].context; i++)
			done += reap(job, lanes, &devices[i]);
		left -= done;
		if (!left)
			return (double)(wfs_now_ns() - began) / 1e9;
		if (!done)
			nap(devices);
	}
}

static void read_all(struct job *job, struct offer *offer)
{
	struct device devices[WFS_RAILS_MAX + 1] = { 0 };
	struct lane lanes[LANES_MAX];
	size_t len = job->lanes * job->depth * job->chunk;
	uint8_t *bytes = map(len);

	must(offer->rails, "find an RDMA device that has an address");
	job->address = offer->address;
	job->end = job->files * job->size;
	for (uint64_t i = 0; i < job->lanes; i++) {
		size_t rail = i % offer->rails;

		lanes[i] = (struct lane){
			.rkey = offer->rail[rail].rkey,
			.slots = bytes + i * job->depth * job->chunk,
		};
		connect_lane(&lanes[i], &offer->rail[rail].to, devices, bytes,
			     len);
	}
	printf("%.6f\n", run(job, lanes, devices));
}

int main(int argc, char **argv)
{
	struct job job = { 0 };
	uint64_t *numbers[] = { &job.files, &job.size, &job.chunk, &job.lanes,
				&job.depth };
	struct wfs_err err = { 0 };
	struct offer offer;
	int ends[2];
	pid_t child;

	for (int i = 0; i < 5; i++)
		*numbers[i] = argc == 6 ? strtoull(argv[i + 1], NULL, 10) : 0;
	if (!job.files || !job.size || !job.chunk || !job.lanes || !job.depth ||
	    job.lanes > LANES_MAX || job.depth > READS_MAX) {
		fprintf(stderr, "usage: readloop FILES SIZE CHUNK LANES "
				"DEPTH\n");
		return 2;
	}
	must(!pipe(ends), "make a pipe");
	child = fork();
	must(child >= 0, "fork");
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	verbs = wfs_verbs_load(&err);
	events = verbs ? wfs_verbs_channel(verbs) : NULL;
	must(events != NULL, verbs ? "make connections" : err.text);
	if (!child)
		serve(ends[1], job.size);
	close(ends[1]);
	must(read(ends[0], &offer, sizeof(offer)) == sizeof(offer),
	     "hear of memory");
	read_all(&job, &offer);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
