/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPUs of this node, for who has bytes and a reader that wants them there.
 *
 * Plain C: nothing here knows CUDA.  Backends implement `struct
 * wfs_device_ops`; everybody else calls the functions below, which check what
 * came from a reader once, so that backends stay small.
 *
 * Errors are negative errno; where a device was asked, the fault says at which
 * stage and with which code of CUDA's:
 *
 * -EINVAL     a size that is none, an overflow, a kind that there is not
 * -ERANGE     a segment outside of the file or of the allocation, or one that
 *             has not so many bytes as it is said to have
 * -EACCES     policy: nothing is lent to this user
 * -EPERM      not importable as the caller; helpers of other users cannot be
 *             started by who is not root
 * -ESRCH      the caller is gone, or not to be seen from here
 * -ENXIO      no CUDA on this node
 * -ENODEV     no such GPU
 * -EOPNOTSUPP this kind of memory, on this GPU
 * -EXDEV      a handle of the legacy kind and another pid namespace, which
 *             cannot be entered; memory of the helper's own
 * -EFAULT     it cannot be mapped
 * -ENOMEM     the device's memory is out
 * -EBUSY      a table is full
 * -ENOENT     no such lease of the caller's
 * -ETIMEDOUT  the deadline passed; the copy was stopped before it came
 * -EINTR      it was stopped, or the caller ended
 * -EIO        a sticky error of CUDA's, or the helper died of it: the next
 *             call finds a new one
 * -ESTALE     the file became shorter than what was asked of it
 *
 * Threads: every operation may be called from any number of threads; all but
 * info and descriptor block, till the deadline at worst, and some seconds
 * more for what does not stop.
 *
 * Bytes that are not on this node yet come by way of the arena, for a device
 * as well, so that they are fetched once for all readers.  Those that cannot be
 * there, for want of room, are fed: read and held against their digests as for
 * any reader, into a ring of host memory that the device copies from while more
 * is read.
 *
 * Bytes that have no digest, those of an engine's memory that come by RDMA
 * under its epoch, land in a ring in device memory that is exported as a dma-buf
 * (core/landing.h), past the host's: neither the arena nor a CPU sees them.  All
 * others come by the host, for a chunk counts only when its digest was right,
 * and it is a CPU that computes XXH3 and SHA-256: to read a chunk back for that
 * takes it over the bus and through the host's memory as well, only the other
 * way.
 */
#ifndef WFS_CORE_DEVICE_H
#define WFS_CORE_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"
#include "core/landing.h"

#define WFS_DEVICE_HANDLE    64 /* bytes of CUDA's handles */
#define WFS_DEVICE_SEGMENTS  64
#define WFS_DEVICE_UUID	     16
#define WFS_DEVICE_LONGEST_S 300 /* no deadline is further away than this */

/* Where it failed.  The numbers are those of the ioctl. */
enum wfs_device_stage {
	WFS_DEVICE_STAGE_NONE,
	WFS_DEVICE_STAGE_AUTH,	 /* who asks, and may they */
	WFS_DEVICE_STAGE_DEVICE, /* the GPU and its helper */
	WFS_DEVICE_STAGE_MAP,	 /* the reader's memory, the file's */
	WFS_DEVICE_STAGE_FETCH,	 /* bytes that are not here yet */
	WFS_DEVICE_STAGE_COPY,
	WFS_DEVICE_STAGE_SYNC,
	WFS_DEVICE_STAGE_VERIFY,
};

/* Untouched on success. */
struct wfs_device_fault {
	uint32_t stage;	   /* enum wfs_device_stage */
	uint32_t cuda_err; /* cudaError_t or CUresult; 0: CUDA said nothing */
};

/* Which GPU, never by ordinal, which differs from process to process. */
struct wfs_device_id {
	enum wfs_device_name {
		WFS_DEVICE_ANY, /* the first one, of the lowest bus id */
		WFS_DEVICE_PCI,
		WFS_DEVICE_GPU_UUID,
		WFS_DEVICE_MIG_UUID,
	} by;
	uint8_t uuid[WFS_DEVICE_UUID];
	uint32_t domain;
	uint8_t bus, device, function;
};

/* As the request of the kernel has it; of a thread or of its process. */
struct wfs_device_caller {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

enum wfs_device_memory {
	WFS_DEVICE_CUDA_IPC = 1, /* a cudaIpcMemHandle_t of an allocation */
	WFS_DEVICE_VMM_FD = 2, /* a POSIX descriptor of cuMemCreate's memory */
	/* … of a memory pool, and what is exported of a pointer into it */
	WFS_DEVICE_POOL_FD = 3,
};

static inline bool wfs_device_by_descriptor(uint32_t memory)
{
	return memory == WFS_DEVICE_VMM_FD || memory == WFS_DEVICE_POOL_FD;
}

/*
 * `count` runs of `len` bytes, `file_stride` and `dst_stride` from the start
 * of one to that of the next.  Strides count only where there are several; in
 * the destination runs must not overlap, so dst_stride >= len.
 */
struct wfs_device_segment {
	uint64_t file_off, dst_off, len;
	uint64_t file_stride, dst_stride, count;
};

/* Until when something is waited for. */
struct wfs_device_patience {
	uint64_t until_ns; /* of wfs_now_ns: then -ETIMEDOUT */
	int ends[2]; /* … or one of these can be read: -EINTR; -1: none */
};

/*
 * Memory of this process that bytes are put into on their way to a device.  It
 * stays until nobody has it: who puts bytes there may be given up on before it
 * is done.
 */
struct wfs_device_room {
	atomic_uint users;
	void (*free)(struct wfs_device_room *room);
};

/* Bytes that lie in no file of this node, of who can get them bit by bit. */
struct wfs_device_feed {
	/*
	 * Puts the `len` bytes at `off` of the file to `to`, which is in
	 * `room`: 0, or a negative errno, of the stage FETCH.  From one thread
	 * at a time.  What is still written after it has returned, out of
	 * patience, has the room; the next one is in another.
	 */
	int (*read)(void *ctx, struct wfs_device_room *room, void *to,
		    uint64_t off, uint64_t len,
		    const struct wfs_device_patience *patience);
	void *ctx;
	/*
	 * The same to `at` in the ring, which is memory of the device's, past
	 * this host's.
	 * Nothing is written there any more when it has returned.  -ENOTSUP:
	 * they are to be read instead; and where that is said of what comes
	 * first and `land_only`, the fill ends with it, as if there had been
	 * none.  NULL: none can be.
	 */
	int (*land)(void *ctx, struct wfs_landing_ring *ring, uint64_t at,
		    uint64_t off, uint64_t len,
		    const struct wfs_device_patience *patience);
	bool land_only;
};

struct wfs_device_fill {
	struct wfs_device_caller caller;
	struct wfs_device_id device;
	/* The destination: an allocation of the caller's. */
	uint32_t memory; /* enum wfs_device_memory */
	int memory_fd;	 /* where it is by descriptor; stays the caller's */
	uint8_t handle[WFS_DEVICE_HANDLE];
	uint64_t memory_bytes; /* of the whole of it */
	/*
	 * Keep it mapped for the next fill with this cookie, until a drop of
	 * the cookie or the reader's death; 0: not.  The reader must not free
	 * an allocation before it dropped its cookie.
	 */
	uint64_t cookie;
	/* A cudaIpcEventHandle_t that is waited for before a byte is written;
	 * NULL: none. */
	const uint8_t *ready;
	/*
	 * The source: a file of `file_bytes`, open for reading.  `steady`: it
	 * never changes or shrinks (of the arena, or sealed), so that it may
	 * be mapped; else it is read.  With `feed` there is no such file, and
	 * `fd` is -1: its bytes are asked for in order, a few megabytes ahead
	 * of what the device has.
	 */
	int fd;
	const struct wfs_device_feed *feed; /* or NULL */
	uint64_t file_bytes;
	bool steady;
	const struct wfs_device_segment *segments;
	size_t segment_count; /* 1 to WFS_DEVICE_SEGMENTS */
	uint64_t deadline_ns; /* of wfs_now_ns */
	/* A descriptor that can be read when it is to end: -EINTR.  NULL:
	   none. */
	const int *stop;
};

enum wfs_device_path {
	WFS_DEVICE_PATH_REGISTERED = 1, /* straight from the mapped file */
	WFS_DEVICE_PATH_STAGED = 2,	/* through pinned memory */
	WFS_DEVICE_PATH_RING = 3,	/* as they were fed */
};

struct wfs_device_filled {
	uint64_t bytes;
	uint32_t path; /* enum wfs_device_path, of most of it */
};

/* What is asked to be lent: the same bytes are always told by the same key. */
struct wfs_device_want {
	struct wfs_device_caller caller;
	struct wfs_device_id device;
	uint32_t memory; /* 0: VMM where there is that, else IPC */
	uint64_t key[2]; /* of the tensor and the version of its bytes */
	/* The whole of it, as with a fill. */
	int fd;
	uint64_t file_bytes;
	bool steady;
	uint64_t deadline_ns;
};

struct wfs_device_lent {
	uint64_t lease;
	uint32_t memory; /* enum wfs_device_memory */
	int memory_fd;	 /* WFS_DEVICE_VMM_FD: the caller closes it; else -1 */
	uint8_t handle[WFS_DEVICE_HANDLE];
	uint64_t offset;       /* of the tensor in the allocation */
	uint64_t memory_bytes; /* of the allocation */
};

struct wfs_device_info {
	bool fills;	  /* there is a GPU and the caller may be served */
	bool lends;	  /* … and may be lent to */
	unsigned devices; /* how many */
};

struct wfs_device;

struct wfs_device_ops {
	/* Does not block: at first it may not be known yet what there is. */
	int (*info)(struct wfs_device *dev,
		    const struct wfs_device_caller *caller,
		    struct wfs_device_info *ret_info);
	/* What it is given was checked: see wfs_device_fill. */
	int (*fill)(struct wfs_device *dev, const struct wfs_device_fill *fill,
		    struct wfs_device_filled *ret_filled,
		    struct wfs_device_fault *fault, struct wfs_err *err);
	int (*lend)(struct wfs_device *dev, const struct wfs_device_want *want,
		    struct wfs_device_lent *ret_lent,
		    struct wfs_device_fault *fault, struct wfs_err *err);
	/* Does not block. */
	int (*descriptor)(struct wfs_device *dev,
			  const struct wfs_device_caller *caller,
			  uint64_t lease, int *ret_fd, uint64_t *ret_bytes);
	int (*drop)(struct wfs_device *dev,
		    const struct wfs_device_caller *caller, uint64_t lease,
		    uint64_t cookie);
	void (*close)(struct wfs_device *dev);
};

/* The base that backends embed first. */
struct wfs_device {
	const struct wfs_device_ops *ops;
};

static inline struct wfs_device_room *
wfs_device_room_get(struct wfs_device_room *room)
{
	atomic_fetch_add(&room->users, 1);
	return room;
}

/* The last one frees it. */
static inline void wfs_device_room_put(struct wfs_device_room *room)
{
	if (atomic_fetch_sub(&room->users, 1) == 1)
		room->free(room);
}

/*
 * Every segment: in the file, in the destination, runs that do not overlap.
 * 0, -EINVAL or -ERANGE with the number of the first that is not so.
 */
int wfs_device_segments_check(const struct wfs_device_segment *segments,
			      size_t count, uint64_t file_bytes,
			      uint64_t memory_bytes, struct wfs_err *err);

/*
 * `dev` may be NULL in all of these: a node without such a thing, -ENXIO.  Its
 * info is all zero, and it has nothing to drop: -ENOENT.
 */
int wfs_device_info(struct wfs_device *dev,
		    const struct wfs_device_caller *caller,
		    struct wfs_device_info *ret_info);

/* Copies the segments into the reader's memory and waits for it. */
int wfs_device_fill(struct wfs_device *dev, const struct wfs_device_fill *fill,
		    struct wfs_device_filled *ret_filled,
		    struct wfs_device_fault *fault, struct wfs_err *err);

/*
 * A handle to the one copy of the file's bytes on that GPU, which is made if
 * there is none.  The lease is the calling process's; it ends with
 * wfs_device_drop or with the process.
 */
int wfs_device_lend(struct wfs_device *dev, const struct wfs_device_want *want,
		    struct wfs_device_lent *ret_lent,
		    struct wfs_device_fault *fault, struct wfs_err *err);

/*
 * The descriptor that memory lent to the calling process stands for, which the
 * caller closes, and the bytes of its allocation: for who was told only the
 * lease.  0, -ENOENT when the process has no such lease, -EOPNOTSUPP when its
 * memory is of the legacy kind, -EMFILE, -ESRCH.
 */
int wfs_device_descriptor(struct wfs_device *dev,
			  const struct wfs_device_caller *caller,
			  uint64_t lease, int *ret_fd, uint64_t *ret_bytes);

/*
 * Gives a lease back, or has a kept mapping closed, or both; 0 is none.  0,
 * -ENOENT when there is none such of the caller's, -ESRCH, -EINVAL for neither.
 */
int wfs_device_drop(struct wfs_device *dev,
		    const struct wfs_device_caller *caller, uint64_t lease,
		    uint64_t cookie);

/* NULL is fine.  No call may be under way, and nobody have a room. */
void wfs_device_close(struct wfs_device *dev);

#endif
