/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FAKE libcudart, for machines without GPUs: found as libcudart.so.13 by
 * LD_LIBRARY_PATH, with two devices whose memory is files in a folder that the
 * environment names (FAKE_CUDART), so that several processes share it.  Where
 * that is not set there is no device.
 *
 * It is as strict as it can be told to be: what was queued on a stream happens
 * no sooner than something waits for it, device memory cannot be touched by
 * the CPU, a legacy handle opens in no process twice, nor in the one that it
 * is of, nor for another user; memory that is freed while others have it open
 * ends the process that frees it.  Its speed means nothing.
 *
 * This header is what tests steer it by, and look into it with.
 */
#ifndef WFS_TESTS_FAKE_CUDART_FAKE_H
#define WFS_TESTS_FAKE_CUDART_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_DEVICES  2
#define FAKE_ALLOCS   512
#define FAKE_OPENS    1024
#define FAKE_EVENTS   256
#define FAKE_CAPACITY (64ull << 20) /* bytes of a device, at first */
#define FAKE_LEAST    0		    /* the least priority of streams */
#define FAKE_GRAIN    (2ull << 20)  /* of memory that a descriptor stands for */

enum fake_action {
	FAKE_FAILS,   /* the call fails with `code` */
	FAKE_STICKS,  /* … and all that this process calls after it */
	FAKE_CRASHES, /* the process is killed in it */
	FAKE_HANGS,   /* it never returns */
};

/* What befalls calls, in whichever process. */
struct fake_fault {
	char call[48];
	enum fake_action action;
	unsigned code;
	unsigned skip;	/* so many go well before */
	unsigned times; /* so many are befallen */
};

struct fake_alloc {
	uint64_t id;	/* 0: free */
	uint64_t inode; /* of memory that a descriptor stands for */
	uint64_t size;
	int device;
	pid_t owner;
	uid_t uid;
	bool descriptor;
};

struct fake_holder {
	uint64_t id; /* of the allocation; 0: free */
	pid_t pid;
};

struct fake_event {
	bool used;
	uint64_t recorded, done;
	pid_t owner;
};

/* What all processes share. */
struct fake_control {
	pthread_mutex_t lock;
	uint64_t next_id;
	uint64_t capacity[FAKE_DEVICES];
	int devices;
	bool no_vmm;	  /* the driver has no such calls */
	bool no_register; /* host memory cannot be registered read-only */
	/* At first no device's memory can be had as a dma-buf. */
	bool dma_bufs;
	int rdma_ordering;  /* as CUDA counts it */
	int rdma_flushes;   /* … its bits */
	unsigned flushed;   /* how often writes of RDMA were, so far */
	bool hold_events;   /* recorded events do not happen till released */
	unsigned pageable;  /* copies from memory that was not pinned */
	unsigned pins;	    /* pieces of host memory that are pinned */
	unsigned registers; /* how often one was registered, so far */
	unsigned calls;	    /* copies queued, of all processes */
	unsigned queries;   /* looks at events, so far */
	unsigned modest;    /* streams of the least priority, so far */
	struct fake_fault fault;
	struct fake_alloc allocs[FAKE_ALLOCS];
	struct fake_holder holders[FAKE_OPENS];
	struct fake_event events[FAKE_EVENTS];
};

/* The control of the folder, made there if it is not; NULL: it cannot be. */
struct fake_control *fake_cu_control_open(const char *dir);
void fake_cu_lock(struct fake_control *control);
void fake_cu_unlock(struct fake_control *control);
/* Forgets what dead processes had.  Locked. */
void fake_cu_reap(struct fake_control *control);

/* For tests. */
void fake_cu_inject(struct fake_control *control, const char *call,
		    enum fake_action action, unsigned code, unsigned skip,
		    unsigned times);
/* Memory can be had as a dma-buf, of devices that see RDMA's writes so. */
void fake_cu_export(struct fake_control *control, int ordering, int flushes);
/* Bytes of both devices that some living process has. */
uint64_t fake_cu_used(struct fake_control *control);
/* Mappings of other processes' memory, of all living processes. */
unsigned fake_cu_holds(struct fake_control *control);
/* Events that are recorded from now on do not happen. */
void fake_cu_hold_events(struct fake_control *control);
/* Events happen from now on, also those recorded already. */
void fake_cu_release_events(struct fake_control *control);

#endif
