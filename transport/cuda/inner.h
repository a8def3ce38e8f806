/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the daemon's side share.
 *
 * One lock for all tables, never held while a helper is asked.  A helper is
 * asked by one thread at a time, which has it `busy`; it is freed when it has
 * neither users nor clients nor copies.
 */
#ifndef WFS_TRANSPORT_CUDA_INNER_H
#define WFS_TRANSPORT_CUDA_INNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/base/proc.h"
#include "transport/cuda/device.h"
#include "transport/cuda/process.h"

#define WFS_GPU_HELPERS_MAX 256
#define WFS_GPU_LEASES_MAX  16384
#define WFS_GPU_LEASES_EACH 4096 /* of one process; each takes a descriptor */
#define WFS_GPU_TIDY_NS	    5000000000ull /* what a helper has for forgetting */
#define WFS_GPU_ROOMS_MAX   16 /* rings, of all helpers; each of 16 MiB */

/* Who makes a call, looked up. */
struct wfs_gpu_caller {
	struct wfs_proc proc;
	uid_t uid;
	gid_t gid;
	uint64_t pidns;	       /* its pid namespace, as a number */
	char *cgroup, *groups; /* or NULL */
};

/* -ESRCH. */
int wfs_gpu_caller_find(const struct wfs_device_caller *who,
			struct wfs_gpu_caller *ret_caller);
void wfs_gpu_caller_clear(struct wfs_gpu_caller *caller);

/* A helper: of readers, or the one of a GPU that lends. */
struct wfs_gpu_helper {
	struct wfs_gpu_helper *next;
	struct wfs_gpu_caller person; /* whose; its process may be gone */
	int pidns;		      /* where it is not ours; else -1 */
	struct wfs_device_id device;
	bool lends;
	struct wfs_gpu_process process;
	unsigned starts; /* how often, so that what died with it is known */
	bool busy;
	pthread_cond_t freed;
	unsigned users, clients, copies;
	bool landing; /* somebody has a turn of its device's ring */
	struct wfs_gpu_turn *turns;
	uint64_t *forget; /* clients that died */
	size_t forget_count;
};

/* A process that a helper has worked for. */
struct wfs_gpu_client {
	struct wfs_gpu_client *next;
	uint64_t id;
	struct wfs_proc proc;
	int pidfd;
	bool keeps; /* it has used cookies */
	struct wfs_gpu_helper *helper;
};

/* A tensor's bytes in memory that is lent. */
struct wfs_gpu_lent {
	struct wfs_gpu_lent *next;
	uint64_t id, key[2], file_bytes;
	struct wfs_gpu_helper *helper;
	unsigned starts; /* of the helper, when it was made */
	bool making;
	uint32_t memory;
	uint8_t handle[WFS_DEVICE_HANDLE];
	int fd; /* VMM, or -1 */
	uint64_t memory_bytes;
	unsigned leases;  /* processes that may have it open */
	uint64_t idle_ns; /* since when there are none */
};

struct wfs_gpu_lease {
	struct wfs_gpu_lease *next;
	uint64_t id;
	struct wfs_proc proc;
	int pidfd;
	bool returned; /* but of the legacy kind: till the process is gone */
	struct wfs_gpu_lent *lent;
};

/*
 * A ring for fills that are fed: a sealed memfd, which we write and a helper
 * reads.  Kept for the next fill of the same helper.
 */
struct wfs_gpu_room {
	struct wfs_device_room base;
	struct wfs_cuda_device *dev;
	struct wfs_gpu_room *next; /* while no fill has it */
	const struct wfs_gpu_helper *helper;
	unsigned starts; /* of the helper, when that mapped it; 0: not yet */
	uint64_t id;
	int fd;
	char *at;
};

struct wfs_cuda_device {
	struct wfs_device base;
	uid_t *lend_to;
	size_t lend_to_count;
	uint64_t keep_ns, keep_files_ns;
	uint64_t own_pidns;

	pthread_mutex_t lock;
	pthread_cond_t made; /* a copy is, or failed to be */
	uint64_t next_id;
	struct wfs_gpu_helper *helpers;
	size_t helper_count;
	struct wfs_gpu_client *clients;
	struct wfs_gpu_lent *lent;
	struct wfs_gpu_lease *leases;
	size_t lease_count;
	struct wfs_gpu_room *rooms; /* idle ones */
	atomic_uint room_count;	    /* of all */
	pid_t *dead;		    /* killed, and not waited for yet */
	size_t dead_count;
	struct wfs_landing_ring **rings; /* of those, to be let go of */
	size_t ring_count;

	pthread_mutex_t count_lock; /* of the look for GPUs */
	uint64_t counted_ns;	    /* when it was; 0: never */
	int count_rc;
	char count_why[WFS_GPU_TEXT];
	atomic_uint devices; /* 0: none, or not known yet */

	pthread_t watcher;
	int wake; /* an eventfd */
	bool ending;
};

/* How a call to a helper went. */
struct wfs_gpu_talk {
	struct wfs_gpu_request *ask;
	struct wfs_gpu_fds fds;
	uint64_t deadline_ns;
	/* What ends it before, or NULL: a pidfd of the caller, which is had
	   once it is known, and what it says. */
	int *gone;
	const int *stop;
	/*
	 * Which life of the helper's it is about, by its `starts`; 0: of
	 * whichever there is, and set.  When that is over: -EIO.  Or NULL.
	 */
	unsigned *life;
	struct wfs_gpu_answer answer;
	int *ret_fd; /* as wfs_gpu_ask has it */
};

/*
 * The helper of that person on that GPU, or the one that lends there; made but
 * not started if there is none.  A user of it more.  -EBUSY, -ESRCH.
 */
int wfs_gpu_helper_get(struct wfs_cuda_device *dev,
		       const struct wfs_gpu_caller *person,
		       const struct wfs_device_id *device, bool lends,
		       struct wfs_gpu_helper **ret_helper);
/* A user less; the last ends it where nothing else keeps it. */
void wfs_gpu_helper_put(struct wfs_cuda_device *dev,
			struct wfs_gpu_helper *helper);
/* With the lock: ends it if nothing keeps it. */
void wfs_gpu_helper_end_unused(struct wfs_cuda_device *dev,
			       struct wfs_gpu_helper *helper);

/*
 * Asks it, and starts it before if it does not run.  0 with an answer, which
 * says how it went; or a negative errno with where that was.
 */
int wfs_gpu_helper_ask(struct wfs_cuda_device *dev,
		       struct wfs_gpu_helper *helper, struct wfs_gpu_talk *talk,
		       struct wfs_device_fault *fault, struct wfs_err *err);
/* The same, as often as it says that the reader's event has not happened. */
int wfs_gpu_ask_when_ready(struct wfs_cuda_device *dev,
			   struct wfs_gpu_helper *helper,
			   struct wfs_gpu_talk *talk,
			   struct wfs_device_fault *fault, struct wfs_err *err);
/* With the lock: what it leaves behind is reaped later. */
void wfs_gpu_helper_kill_locked(struct wfs_cuda_device *dev,
				struct wfs_gpu_process *process);
/* Kills that life of it, whoever asks it something. */
void wfs_gpu_helper_fell(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper, unsigned life);
/* An answer as the result of an operation. */
int wfs_gpu_answer_result(const struct wfs_gpu_answer *answer,
			  struct wfs_device_fault *fault, struct wfs_err *err);
/* Has what died clients mapped forgotten, unless the helper is busy now. */
void wfs_gpu_helper_tidy(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper);

/* With the lock: notices that it died while nobody asked it anything. */
void wfs_gpu_helper_check(struct wfs_cuda_device *dev,
			  struct wfs_gpu_helper *helper);

/* A failure that is none of a helper's: rc, with its stage and why. */
int wfs_gpu_say(struct wfs_device_fault *fault, enum wfs_device_stage stage,
		struct wfs_err *err, int rc, const char *why);

/*
 * Are there GPUs?  -ENXIO; blocks while that is found out.  `fault` may be
 * NULL.
 */
int wfs_gpu_look(struct wfs_cuda_device *dev, struct wfs_device_fault *fault,
		 struct wfs_err *err);

/*
 * With the lock: takes it off the list, and notes what its helper is to forget.
 */
void wfs_gpu_client_end(struct wfs_gpu_client **at);

/* Is it memory whose handle means nothing in the caller's pid namespace? */
bool wfs_gpu_is_beyond(const struct wfs_cuda_device *dev,
		       const struct wfs_gpu_caller *caller, uint32_t memory);

/* As struct wfs_device_ops has it. */
int wfs_gpu_fill_memory(struct wfs_device *base,
			const struct wfs_device_fill *fill,
			struct wfs_device_filled *ret_filled,
			struct wfs_device_fault *fault, struct wfs_err *err);
/*
 * The same with its `feed`, for the caller that `talk` is set up for: its
 * request, but for what is to be done, and who ends it.
 */
int wfs_gpu_fill_fed(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		     const struct wfs_device_fill *fill,
		     struct wfs_gpu_talk *talk, struct wfs_device_fault *fault,
		     struct wfs_err *err);
/* May a helper be had as this caller?  -EPERM, -EXDEV. */
int wfs_gpu_admit(const struct wfs_cuda_device *dev,
		  const struct wfs_gpu_caller *caller, uint32_t memory);

/* A ring of that helper's, till wfs_gpu_room_put.  -EBUSY, -ENOMEM, -EMFILE. */
int wfs_gpu_room_get(struct wfs_cuda_device *dev, struct wfs_gpu_helper *helper,
		     struct wfs_gpu_room **ret_room);
/* Keeps it for the next fill, or ends it where somebody still writes to it. */
void wfs_gpu_room_put(struct wfs_cuda_device *dev,
		      struct wfs_gpu_helper *helper, struct wfs_gpu_room *room);
/* Who waits to be the one that lands bytes: first come, first served. */
struct wfs_gpu_turn {
	struct wfs_gpu_turn *next;
	int bell; /* an eventfd */
	bool mine;
};

/* -ETIMEDOUT, -EINTR, -EMFILE. */
int wfs_gpu_turn_take(struct wfs_cuda_device *dev,
		      struct wfs_gpu_helper *helper,
		      const struct wfs_gpu_patience *patience);
void wfs_gpu_turn_give(struct wfs_cuda_device *dev,
		       struct wfs_gpu_helper *helper);

/* A slot of the ring in a device's memory. */
struct wfs_gpu_landing {
	struct wfs_landing_ring *ring; /* NULL: none */
	uint64_t id;		       /* of the ring */
	unsigned slot;
};

/* For so long a fill waits for others' slots; then it goes another way. */
#define WFS_GPU_TURN_NS 1000000000ull

/*
 * The next slot of the ring of that life of the helper's, which is made if
 * there is none, till wfs_gpu_landing_put; fills at the same time take turns,
 * slot by slot.  -ENOTSUP where none is to be had, or not soon; -ETIMEDOUT;
 * -EINTR.
 */
int wfs_gpu_landing_get(struct wfs_cuda_device *dev,
			struct wfs_gpu_helper *helper, unsigned life,
			const struct wfs_gpu_patience *patience,
			struct wfs_gpu_landing *ret_landing);
/* `fed`: the helper took what is in it, and has the next one free. */
void wfs_gpu_landing_put(struct wfs_cuda_device *dev,
			 struct wfs_gpu_helper *helper, unsigned life,
			 struct wfs_gpu_landing *landing, bool fed);
/* With the lock: the idle ones of a helper that ends. */
void wfs_gpu_rooms_end(struct wfs_cuda_device *dev,
		       const struct wfs_gpu_helper *helper);

int wfs_gpu_lend(struct wfs_device *base, const struct wfs_device_want *want,
		 struct wfs_device_lent *ret_lent,
		 struct wfs_device_fault *fault, struct wfs_err *err);
/* -ENOENT. */
int wfs_gpu_return(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		   uint64_t lease);
/* As wfs_device_descriptor. */
int wfs_gpu_descriptor(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		       uint64_t lease, int *ret_fd, uint64_t *ret_bytes);
bool wfs_gpu_may_borrow(const struct wfs_cuda_device *dev, uid_t uid);
/*
 * With the lock, which it lets go of meanwhile: frees the copies that have
 * been idle long enough at `now`, UINT64_MAX for all idle ones.  When the next
 * one will have been; UINT64_MAX: none.
 */
uint64_t wfs_gpu_free_idle(struct wfs_cuda_device *dev, uint64_t now);
/*
 * With the lock: a lease of the process more, or the one that it gave back.
 * -EBUSY, -ESRCH, -EMFILE.
 */
int wfs_gpu_lease_add(struct wfs_cuda_device *dev, const struct wfs_proc *proc,
		      struct wfs_gpu_lent *lent, struct wfs_gpu_lease **ret);
/* With the lock: -EOPNOTSUPP where the memory has none; -EMFILE. */
int wfs_gpu_copy_descriptor(const struct wfs_gpu_lent *lent, int *ret_fd);
/* With the lock: ends what the process that `lease` is of had. */
void wfs_gpu_lease_end(struct wfs_cuda_device *dev,
		       struct wfs_gpu_lease *lease);

int wfs_gpu_watch(struct wfs_cuda_device *dev);
void wfs_gpu_wake(struct wfs_cuda_device *dev);

#endif
