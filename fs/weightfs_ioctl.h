/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctls on files of a weightfs mount.  Usable from C and C++, with nothing
 * else of weightfs.  Structs have a fixed size and hold no pointers; the size
 * is part of the command.  weightfs_ioctl(2) is the manual.
 */
#ifndef WEIGHTFS_IOCTL_H
#define WEIGHTFS_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * On `.weightfs/version`: takes everything out of the arena that nobody holds
 * or maps.  For uid 0 and the uid of the daemon, else EPERM.
 */
struct weightfs_evict {
	__u64 freed; /* out: bytes that came back */
	__u64 left;  /* out: bytes still in the arena, in use */
};

#define WEIGHTFS_IOC_EVICT _IOR(0xB7, 64, struct weightfs_evict)

/*
 * On a file of a model: with `start` it is to be in memory soon, without it
 * tells how far that is.  Returns at once either way.  ENOSPC when there is no
 * room for it, or was none since the last start, ESTALE when its source was rewritten, EOPNOTSUPP where the
 * daemon has no arena.
 */
enum weightfs_warm_state {
	WEIGHTFS_WARM_ABSENT, /* nobody brings it: not started, or failed since
				 the last start, though tried again */
	WEIGHTFS_WARM_UNDER_WAY,
	WEIGHTFS_WARM_COMPLETE, /* all of it, verified */
	WEIGHTFS_WARM_LOCAL,	/* a file of this node itself, which needs no
				    arena: reading it is what warms it */
};

struct weightfs_warm {
	__u32 start;	/* in: 0 or 1 */
	__u32 state;	/* out: enum weightfs_warm_state */
	__u64 size;	/* out: bytes of the file */
	__u64 resident; /* out: bytes of it in the arena now */
};

#define WEIGHTFS_IOC_WARM _IOWR(0xB7, 65, struct weightfs_warm)

/* The first field of each call on a file of a model. */
struct weightfs_head {
	__u32 size;  /* in: of the whole struct */
	__u32 abi;   /* in: WEIGHTFS_ABI */
	__u32 flags; /* in: those of the call; out: see there */
	/* Out, also when ioctl(2) returns -1: */
	__s32 status; /* 0 or a negative errno */
	__u32 stage;  /* enum weightfs_stage: where it failed */
	__u32 cuda_err, wc_status, vendor_err; /* what a device said, or 0 */
};

#define WEIGHTFS_ABI 1u

enum weightfs_stage {
	WEIGHTFS_STAGE_NONE,
	WEIGHTFS_STAGE_AUTH,   /* what is asked, who asks, and may they */
	WEIGHTFS_STAGE_DEVICE, /* the GPU and its helper */
	WEIGHTFS_STAGE_MAP,    /* the destination */
	WEIGHTFS_STAGE_FETCH,  /* the file's bytes */
	WEIGHTFS_STAGE_COPY,
	WEIGHTFS_STAGE_SYNC,
	WEIGHTFS_STAGE_VERIFY,
};

/* Which GPU. */
struct weightfs_device {
	__u8 uuid[16];
	__u32 pci_domain;
	__u8 pci_bus, pci_device, pci_function;
	__u8 by; /* enum weightfs_device_by */
};

enum weightfs_device_by {
	WEIGHTFS_DEVICE_ANY,
	WEIGHTFS_DEVICE_PCI,
	WEIGHTFS_DEVICE_UUID,
	WEIGHTFS_DEVICE_MIG,
};

/* Where bytes are to go. */
enum weightfs_memory {
	WEIGHTFS_MEMORY_HOST,	  /* a slot: a memfd, or shared memory */
	WEIGHTFS_MEMORY_CUDA_IPC, /* `handle` of an allocation */
	WEIGHTFS_MEMORY_CUDA_VMM, /* a slot: a descriptor of such memory */
	/* a slot: a descriptor of a memory pool, and in `handle` what
	   cudaMemPoolExportPointer says of a pointer into it */
	WEIGHTFS_MEMORY_CUDA_POOL,
};

/* How a reader gets at the bytes of a file fastest, on this node. */
enum weightfs_path {
	WEIGHTFS_PATH_READ, /* read(2) */
	WEIGHTFS_PATH_MAP,  /* mmap(2): of memory, or the page cache */
	WEIGHTFS_PATH_FILL,
	WEIGHTFS_PATH_LEND,
};

enum weightfs_can {
	WEIGHTFS_CAN_FILL = 1,	      /* host memory */
	WEIGHTFS_CAN_FILL_DEVICE = 2, /* there is a GPU */
	WEIGHTFS_CAN_LEND = 4,
	/* A FILL of a GPU's memory with this file goes by a ring, as there is
	   never room for all of it; LEND of it is EHOSTUNREACH.  Of want of
	   room that may pass only the FILL tells. */
	WEIGHTFS_FILLS_BY_RING = 8,
};

#define WEIGHTFS_TOKEN_BYTES 32

/* What a file is, and what can be done with it here. */
struct weightfs_info {
	struct weightfs_head head; /* no flags */
	/* Out: */
	__u64 bytes;
	__u64 version;	/* of the model; changes with its bytes */
	__u64 resident; /* bytes in memory now */
	__u32 can;	/* enum weightfs_can, or'ed */
	__u32 best;	/* enum weightfs_path */
	__u32 devices;	/* GPUs */
	__u32 dims;	/* of a tensor; the first 8 are in `shape` */
	__u64 shape[8];
	char dtype[16];	 /* as safetensors names it; "" of other files */
	char trust[16];	 /* as user.weightfs.trust */
	char digest[80]; /* "xxh3-128:…", "" while it is not known */
	/* For passing descriptors; `socket` is "" where it cannot be done. */
	__u8 token[WEIGHTFS_TOKEN_BYTES];
	char socket[112];
};

/* `count` runs of `len` bytes; strides are from start to start. */
struct weightfs_segment {
	__u64 file_off, dst_off, len;
	__u64 file_stride, dst_stride, count;
};

#define WEIGHTFS_SEGMENTS 64

enum weightfs_fill_flags {
	/* Returns once it is begun.  `ticket` is a slot, whose outcome
	   WEIGHTFS_IOC_DROP tells; `event` is rung when there is one. */
	WEIGHTFS_FILL_ASYNC = 1,
	/*
	 * Out, also in what DROP tells of a ticket; in it means nothing: the
	 * bytes went to a GPU past the memory that readers share, which had no
	 * room for them or was not needed.
	 */
	WEIGHTFS_FILL_BY_RING = 2,
};

/* Fills memory with segments of the file. */
struct weightfs_fill {
	struct weightfs_head head;
	struct weightfs_device device;
	__u32 memory; /* enum weightfs_memory */
	__u32 count;  /* of segments: 1 to WEIGHTFS_SEGMENTS */
	__u64 slot;   /* the destination's, or 0 */
	__u64 event;  /* with ASYNC: an eventfd's slot, or 0 */
	/* CUDA only: bytes of the allocation; a name of it, under which it
	   stays mapped until DROP, or 0; its handle; an event to wait for. */
	__u64 alloc_bytes;
	__u64 cookie;
	__u8 handle[64];
	__u8 ready[64];
	__u64 timeout_ns; /* 0: none */
	__u64 version;	  /* 0: any; another than the file's is ESTALE */
	/*
	 * In: so many bytes of the segments are there already; 0 at first.
	 * Out: how many are there now.  So an interrupted call goes on when
	 * it is made again as it is.
	 */
	__u64 done;
	/* Out: */
	__u64 ticket;
	__u64 from_memory; /* of the bytes done: from where others read, too */
	__u64 ns;
	struct weightfs_segment segment[WEIGHTFS_SEGMENTS];
};

/* Lends a copy in device memory. */
struct weightfs_lend {
	struct weightfs_head head; /* no flags */
	struct weightfs_device device;
	/* WEIGHTFS_MEMORY_CUDA_IPC or _VMM, 0: either; out: of which kind */
	__u32 memory;
	__u32 reserved; /* 0 */
	__u64 timeout_ns;
	__u64 version;
	/* Out: */
	__u64 lease;
	__u64 offset, bytes; /* of the tensor in the allocation */
	__u64 alloc_bytes;
	__u8 handle[64]; /* CUDA_IPC; of VMM the socket gives a descriptor */
};

/* Gives back a slot; or a lease, what a cookie keeps mapped, or both. */
struct weightfs_drop {
	struct weightfs_head head; /* no flags */
	__u64 slot, lease, cookie; /* 0: none */
	/* Out, of a ticket: how its FILL ended. */
	__u64 done;
	__s32 result; /* 0 or a negative errno */
	__u32 stage;
	__u64 from_memory, ns;
};

#define WEIGHTFS_IOC_INFO _IOWR(0xB7, 1, struct weightfs_info)
#define WEIGHTFS_IOC_FILL _IOWR(0xB7, 2, struct weightfs_fill)
#define WEIGHTFS_IOC_LEND _IOWR(0xB7, 3, struct weightfs_lend)
#define WEIGHTFS_IOC_DROP _IOWR(0xB7, 4, struct weightfs_drop)

/*
 * Over the socket (SOCK_SEQPACKET): one descriptor and this, answered by the
 * other.  What was passed lives until DROP, or until the socket is closed.
 * With WEIGHTFS_PASS_LEASE it is the answer that brings a descriptor, that of
 * the memory of a LEND, for who has the lease.
 */
struct weightfs_pass {
	__u32 abi;
	__u32 what; /* enum weightfs_pass_what */
	/* Of memory: how many bytes may be written, 0: all; of a lease: the
	   lease; else 0. */
	__u64 number;
	__u8 token[WEIGHTFS_TOKEN_BYTES];
};

enum weightfs_pass_what {
	WEIGHTFS_PASS_MEMORY = 1,
	WEIGHTFS_PASS_EVENT,  /* an eventfd */
	WEIGHTFS_PASS_DEVICE, /* of memory of cuMemCreate, or of a pool */
	WEIGHTFS_PASS_LEASE,  /* none: one comes back */
};

struct weightfs_passed {
	__u32 abi;
	__s32 status; /* 0 or a negative errno */
	__u64 slot;
	__u64 bytes;  /* of memory: how many may be written; of a lease: of the
			 allocation */
	__u32 mapped; /* of memory: 1, or 0 if it is written by write(2) */
	__u32 reserved;
};

#endif
