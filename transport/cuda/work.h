/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a GPU helper: one thread that has a device, does what it is
 * asked and says how that went.
 */
#ifndef WFS_TRANSPORT_CUDA_WORK_H
#define WFS_TRANSPORT_CUDA_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "transport/cuda/cuda.h"
#include "transport/cuda/ring.h"
#include "transport/cuda/talk.h"

#define WFS_GPU_RING_SLOTS 2
#define WFS_GPU_RING_BYTES (8u << 20)
#define WFS_GPU_MAPS	   256
#define WFS_GPU_COPIES	   1024
#define WFS_GPU_SOURCES	   4
#define WFS_GPU_FEDS	   64 /* fills at a time whose bytes come by a ring */
#define WFS_GPU_FEEDERS	   32 /* rings */

/* Device memory that was imported or made. */
struct wfs_gpu_memory {
	uint32_t kind; /* enum wfs_device_memory; 0: none */
	uint64_t ptr;
	uint64_t bytes; /* mapped */
	bool own;	/* made, not imported */
	cu_alloc alloc; /* VMM */
	cu_pool pool;	/* POOL */
};

/*
 * A mapping: kept under its cookie, and as long as it is used; without a cookie
 * as long as that.
 */
struct wfs_gpu_map {
	uint64_t client, cookie;
	unsigned users; /* fills that have not ended */
	uint8_t handle[WFS_DEVICE_HANDLE];
	uint64_t used; /* when, in requests */
	struct wfs_gpu_memory memory;
};

struct wfs_gpu_copy {
	uint64_t id; /* 0: free */
	struct wfs_gpu_memory memory;
};

/* A file that is mapped, all of it. */
struct wfs_gpu_source {
	void *at; /* NULL: none */
	uint64_t bytes;
	dev_t dev;
	ino_t ino;
	bool registered, refused; /* by the driver */
	uint64_t used_ns;
};

/*
 * A ring that the daemon puts bytes into, mapped for reading only; or one of
 * the device's own memory, which RDMA writes.
 */
struct wfs_gpu_feeder {
	uint64_t id; /* 0: none */
	const char *at;
	bool registered;
	uint64_t ptr; /* on the device; 0: it is the daemon's */
	bool flushes; /* what was written there is seen only after a flush */
	/* Without buffers: what is done of each of its slots. */
	struct wfs_gpu_ring slots;
};

/* A fill by way of one. */
struct wfs_gpu_fed {
	uint64_t id; /* 0: free */
	struct wfs_gpu_map *map;
};

struct wfs_gpu_work {
	const struct wfs_cuda *cuda; /* NULL until a device is taken */
	int socket;		     /* to the daemon */
	int device;
	bool registers; /* host memory, for reading only */
	uint64_t pitch_max;
	struct wfs_gpu_ring ring;
	uint64_t requests;
	struct wfs_gpu_map maps[WFS_GPU_MAPS];
	struct wfs_gpu_copy copies[WFS_GPU_COPIES];
	struct wfs_gpu_source sources[WFS_GPU_SOURCES];
	struct wfs_gpu_feeder feeders[WFS_GPU_FEEDERS];
	struct wfs_gpu_fed feds[WFS_GPU_FEDS];
	uint64_t keep_ns; /* … for so long after their last use */
	struct wfs_gpu_answer *answer; /* to the request in hand */
};

/*
 * Notes in the answer what CUDA's `code` at this stage comes to, or an errno of
 * our own.  The negative errno.
 */
int wfs_gpu_fail(struct wfs_gpu_work *work, enum wfs_device_stage stage,
		 unsigned code, const char *what);
int wfs_gpu_refuse(struct wfs_gpu_work *work, enum wfs_device_stage stage,
		   int rc, const char *what);

/* Is the request in hand not to go on?  Refused with -EINTR then. */
bool wfs_gpu_is_cancelled(struct wfs_gpu_work *work,
			  enum wfs_device_stage stage);

/* HELLO. */
int wfs_gpu_take(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask);
int wfs_gpu_count(struct wfs_gpu_work *work);

/* FILL.  `memory_fd` is -1 where the memory is none. */
int wfs_gpu_fill(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		 int fd, int memory_fd);
int wfs_gpu_forget(struct wfs_gpu_work *work, uint64_t client, uint64_t cookie);

/*
 * The mapping of the reader's memory that a request is about, till
 * wfs_gpu_map_put: one that is there already, or a new one.
 */
int wfs_gpu_map_get(struct wfs_gpu_work *work,
		    const struct wfs_gpu_request *ask, int memory_fd,
		    struct wfs_gpu_map **ret_map);
void wfs_gpu_map_put(struct wfs_gpu_work *work, struct wfs_gpu_map *map);
/*
 * Has the event happened that the request names, if it does?  Refused with
 * -EAGAIN if not.
 */
int wfs_gpu_is_ready(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask);

/* SHARE.  *ret_fd is the caller's. */
int wfs_gpu_share(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		  int *ret_fd);
/*
 * A place for the ring that the request names, its slots made.  It is free until
 * the caller gives it that id.
 */
int wfs_gpu_feeder_make(struct wfs_gpu_work *work,
			const struct wfs_gpu_request *ask,
			struct wfs_gpu_feeder **ret_feeder);

/* RING, UNRING, BEGIN, FEED, FINISH. */
int wfs_gpu_ring_add(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask, int fd);
int wfs_gpu_ring_remove(struct wfs_gpu_work *work, uint64_t ring);
int wfs_gpu_begin(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		  int memory_fd);
int wfs_gpu_feed(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask);
int wfs_gpu_finish(struct wfs_gpu_work *work, uint64_t fed);

/* MAKE, UNMAKE.  *ret_fd is the caller's, -1 where the memory is none. */
int wfs_gpu_make(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		 int fd, int *ret_fd);
int wfs_gpu_unmake(struct wfs_gpu_work *work, uint64_t copy);

/* The reader's memory, mapped; given back by wfs_gpu_let_go. */
int wfs_gpu_import(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		   int memory_fd, struct wfs_gpu_memory *ret_memory);
/* `bytes` of new memory; of either kind where `kind` is 0. */
int wfs_gpu_allocate(struct wfs_gpu_work *work, uint32_t kind, uint64_t bytes,
		     struct wfs_gpu_memory *ret_memory);
/* Unmaps what was imported, frees what was allocated; none is fine. */
void wfs_gpu_let_go(struct wfs_gpu_work *work, struct wfs_gpu_memory *memory);

/* Where bytes come from. */
struct wfs_gpu_file {
	int fd;
	uint64_t bytes;
	bool steady;
};

/*
 * A steady file, mapped, and registered for the device's reading if that is
 * wanted and can be; for this request.  NULL: it is to be read.
 */
const struct wfs_gpu_source *wfs_gpu_source_get(struct wfs_gpu_work *work,
						const struct wfs_gpu_file *file,
						bool registered);
/* Lets go of those whose time is over: ms till the next one's is, -1: none. */
int wfs_gpu_sources_age(struct wfs_gpu_work *work);

/*
 * Copies the segments to `to` and waits for it: 0, with bytes and path in the
 * answer.
 */
int wfs_gpu_copy(struct wfs_gpu_work *work, const struct wfs_gpu_file *file,
		 const struct wfs_device_segment *segments, size_t count,
		 uint64_t to);

/* The same from memory, of which nothing is waited for. */
int wfs_gpu_copy_queue(struct wfs_gpu_work *work, const void *from,
		       bool registered,
		       const struct wfs_device_segment *segments, size_t count,
		       uint64_t to);
/* The same from the device's own memory. */
int wfs_gpu_copy_within(struct wfs_gpu_work *work, uint64_t from,
			const struct wfs_device_segment *segments, size_t count,
			uint64_t to);
/* Waits for all that was queued. */
int wfs_gpu_copy_wait(struct wfs_gpu_work *work);

#endif
