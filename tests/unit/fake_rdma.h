/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FAKE RDMA devices, for tests without any: they take the place of libibverbs
 * and librdmacm (wfs_verbs_load hands out their calls) below whatever a test
 * runs in its process, node and seed alike.
 *
 * Memory regions, their keys, bounds and rights, protection domains, the states
 * of queue pairs, completion queues with channels that can be polled, and
 * connections with their events are as strict as real ones.  A thread, the
 * wire, carries READs out in the order of each queue pair, but for what a test
 * injects.  Whatever real libraries would hang on, crash with or corrupt memory
 * by is counted as misuse.
 *
 * Device i is "FAKE<i>" and has the address 192.0.2.<i+1>; a connection to that
 * address leaves by the same device.
 */
#ifndef WFS_TESTS_UNIT_FAKE_RDMA_H
#define WFS_TESTS_UNIT_FAKE_RDMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/rdma/verbs.h"

#define FAKE_RAILS_MAX (WFS_RAILS_MAX + 1)
#define FAKE_ANY       (-1)

/* What a device can; what is 0 is as generous as a real one. */
struct fake_rail {
	unsigned reads;	     /* under way on a connection, either side */
	unsigned reads_init; /* … as the side that reads; 0: as above */
	uint64_t region_max; /* of one registration */
	uint64_t lockable;   /* bytes of all of them, as RLIMIT_MEMLOCK */
	enum ibv_mtu mtu;
	unsigned prefix;  /* of its address; 0: a network of its own */
	bool twice;	  /* its address is listed two times */
	int node;	  /* NUMA */
	int dmabuf_error; /* to register one fails with this errno */
};

/* From here to fake_rdma_close there are such devices.  NULL: generous ones. */
void fake_rdma_open(const struct fake_rail *rails, size_t n);
/* Asserts that nothing is left and nothing was misused. */
void fake_rdma_close(void);
/* Objects of all kinds that were made and not destroyed. */
unsigned fake_rdma_live(void);
/* … of one: "pd", "mr", "cq", "qp", "id", "channel". */
unsigned fake_rdma_live_of(const char *kind);

enum fake_kind {
	FAKE_STATUS,  /* it ends with `status`, nothing is read */
	FAKE_HELD,    /* half of it lands, the rest when it is released */
	FAKE_LOST,    /* it lands, and nobody ever hears of it */
	FAKE_SWAPPED, /* it is told after the next one of its queue */
};

/* What befalls READs. */
struct fake_fault {
	enum fake_kind kind;
	enum ibv_wc_status status;
	int device;	/* FAKE_ANY, or of the side that reads */
	uint32_t least; /* only READs of so many bytes, or more */
	unsigned skip;	/* so many of these go well before */
	unsigned times; /* so many are befallen; 0: all from then on */
};
void fake_rdma_inject(const struct fake_fault *fault);
/* No fault befalls from now on; what was held stays so. */
void fake_rdma_heal(void);
/* What is held goes on. */
void fake_rdma_release(void);

/* After `skip` more, `times` registrations fail; `error` is errno. */
void fake_rdma_refuse(int error, unsigned skip, unsigned times);

enum fake_answer {
	FAKE_UNREACHABLE, /* the other side does not answer, says the device */
	FAKE_SILENT,	  /* nor does the device say so */
	FAKE_NO_ROUTE,	  /* the address is resolved, a route is not */
	FAKE_NO_DEPTH,	  /* connected, with no READ allowed under way */
};
/* That is what the next `times` connections come to. */
void fake_rdma_answer(enum fake_answer answer, unsigned times);

/* Memory comes from that NUMA node alone; FAKE_ANY: from all. */
void fake_rdma_memory_of(int node);
/*
 * The device says so; an event of a queue pair is of one that reads by it, if
 * there is any.
 */
void fake_rdma_befall(size_t device, enum ibv_event_type type);
/* Its address goes, or comes, of which an event tells. */
void fake_rdma_address(size_t device, bool has);

/* A port that is down carries nothing and connects nobody; an event says so. */
void fake_rdma_port(size_t device, bool up);

enum fake_count {
	FAKE_READS,	  /* that went well */
	FAKE_HOLDS,	  /* that are held now */
	FAKE_RELEASES,	  /* that were, and are still to come */
	FAKE_FAILS,	  /* that ended with another status, but for … */
	FAKE_FLUSHES,	  /* … these */
	FAKE_LOSSES,	  /* that nobody heard of */
	FAKE_PROBES,	  /* WRITEs of nothing that went well */
	FAKE_CONNECTIONS, /* that were established */
	FAKE_ALLOCATIONS, /* that the device made to carry READs out */
	FAKE_DMABUFS,	  /* that were to be registered */
	FAKE_WRITABLE,	  /* queue pairs now whose peer may write */
	FAKE_COUNTS,
};
unsigned fake_rdma_count(enum fake_count what);
/* … of the READs that `device` made. */
unsigned fake_rdma_reads(size_t device);
/* Until it is so many; fails the test after a minute. */
void fake_rdma_await(enum fake_count what, unsigned at_least);

#endif
