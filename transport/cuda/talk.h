/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon and a GPU helper say to each other: over a SOCK_SEQPACKET
 * pair, one request, one answer, of fixed sizes, in the machine's own order.
 * A request comes with a descriptor, that of the file; where memory is one as
 * well a `struct wfs_gpu_more` follows, with it.
 *
 * The helper runs as the reader's user, so that the daemon takes nothing from
 * it on trust: an answer of another form ends the helper.
 */
#ifndef WFS_TRANSPORT_CUDA_TALK_H
#define WFS_TRANSPORT_CUDA_TALK_H

#include <stdint.h>

#include "core/device.h"

#define WFS_GPU_MAGIC 0x77667367u
#define WFS_GPU_TEXT  160

/* A ring: so many slots of so many bytes, one behind the other. */
#define WFS_GPU_FEED_SLOTS 4
#define WFS_GPU_FEED_BYTES (4u << 20)
#define WFS_GPU_FEED_RING  ((size_t)WFS_GPU_FEED_SLOTS * WFS_GPU_FEED_BYTES)

enum wfs_gpu_op {
	WFS_GPU_HELLO = 1, /* take this device */
	WFS_GPU_COUNT,	   /* no device is taken: how many are there? */
	WFS_GPU_FILL,
	WFS_GPU_FORGET, /* a kept mapping; cookie 0: all of the client's */
	WFS_GPU_MAKE,	/* a copy of the file in memory that can be lent */
	WFS_GPU_UNMAKE, /* the copy, for good */
	/* Ends the request of this `seq` with -EINTR if it is one of those
	   that can be stopped and still under way; has no answer of its own. */
	WFS_GPU_CANCEL,
	/*
	 * A fill whose bytes come through a ring, memory of the daemon's that
	 * the helper only reads.  BEGIN maps the destination; each FEED has what
	 * was put into one slot copied, and is answered when the next slot may
	 * be written; FINISH waits for all.
	 * What is between them is no business of other requests'.
	 */
	WFS_GPU_RING,	/* with the ring as the file */
	WFS_GPU_UNRING, /* the ring, for good */
	WFS_GPU_BEGIN,
	WFS_GPU_FEED, /* its segments are from offsets in the ring */
	WFS_GPU_FINISH,
	/*
	 * A ring in the device's memory, as a dma-buf that comes with the
	 * answer: what others write there FEED copies as well.  It stays as
	 * long as the helper.
	 */
	WFS_GPU_SHARE,
};

/*
 * FILL and BEGIN of what is to wait for an event that has not happened do
 * nothing, with -EAGAIN: the helper has others to work for meanwhile.
 */

/* The request can be stopped by CANCEL. */
static inline bool wfs_gpu_op_stops(uint32_t op)
{
	return op == WFS_GPU_FILL || op == WFS_GPU_MAKE ||
	       op == WFS_GPU_BEGIN || op == WFS_GPU_FEED;
}

/* … of a reader's memory, which a descriptor may come for. */
static inline bool wfs_gpu_op_imports(uint32_t op)
{
	return op == WFS_GPU_FILL || op == WFS_GPU_BEGIN;
}

struct wfs_gpu_request {
	uint32_t magic, op;
	uint64_t seq;
	uint64_t client; /* FILL, BEGIN, FORGET: a process, as the daemon counts */
	uint64_t cookie;
	uint64_t copy; /* MAKE, UNMAKE: the daemon's number of it */
	uint64_t fed;  /* BEGIN, FEED, FINISH: … of the fill */
	uint64_t ring; /* RING, UNRING, FEED, SHARE: … of the ring */
	uint32_t slot; /* FEED: of the ring */
	struct wfs_device_id device; /* HELLO */
	uint32_t memory;	     /* FILL, BEGIN; MAKE: 0 for either */
	uint32_t steady, has_ready;
	uint32_t segment_count;
	uint8_t handle[WFS_DEVICE_HANDLE];
	uint8_t ready[WFS_DEVICE_HANDLE];
	uint64_t memory_bytes;
	uint64_t file_bytes;
	uint64_t keep_ns; /* HELLO: so long files stay mapped, unused */
	struct wfs_device_segment segments[WFS_DEVICE_SEGMENTS];
};

struct wfs_gpu_more {
	uint32_t magic, reserved;
	uint64_t seq;
};

/* With the descriptor of a copy's memory where MAKE made it VMM; of SHARE's. */
struct wfs_gpu_answer {
	uint32_t magic;
	int32_t status; /* 0 or a negative errno */
	uint64_t seq;
	uint32_t stage, cuda_err;
	uint32_t memory, path;
	uint32_t devices; /* COUNT */
	uint32_t ends;	  /* the helper is done for: a sticky error */
	uint64_t bytes;
	uint64_t memory_bytes;
	uint64_t address; /* SHARE: as the device has it */
	uint8_t handle[WFS_DEVICE_HANDLE];
	char text[WFS_GPU_TEXT];
};

#endif
