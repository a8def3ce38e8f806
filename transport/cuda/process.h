/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU helper as the daemon sees it: a child process and a socket to it.
 *
 * Whatever becomes of the child, no call here waits past its deadline.
 */
#ifndef WFS_TRANSPORT_CUDA_PROCESS_H
#define WFS_TRANSPORT_CUDA_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "transport/cuda/talk.h"

struct wfs_landing_ring;

struct wfs_gpu_process {
	pid_t pid; /* 0: none runs */
	int socket;
	uint64_t seq;
	/* In its device's memory: NULL until, or unless, it made one. */
	struct wfs_landing_ring *ring;
	uint64_t ring_id;   /* 0: nobody tried */
	unsigned ring_slot; /* that is used next */
};

/* As whom it is started. */
struct wfs_gpu_person {
	uid_t uid;
	gid_t gid;
	const char *groups; /* or NULL */
	int pidns;	    /* a namespace to enter, or -1 */
	const char *cgroup; /* a path, or NULL */
	struct wfs_device_id device;
};

/* -EPERM, -EMFILE … */
int wfs_gpu_start(const struct wfs_gpu_person *person,
		  struct wfs_gpu_process *ret_process);

/* The two descriptors of a request, -1 for none, stay the caller's. */
struct wfs_gpu_fds {
	int file, memory;
};

/* How long an answer is waited for. */
struct wfs_gpu_patience {
	uint64_t deadline_ns;
	int ends[2]; /* … or until one of these can be read; -1: none */
};
#define WFS_GPU_UNTIL(ns)                                                      \
	(&(const struct wfs_gpu_patience){ .deadline_ns = (ns),                \
					   .ends = { -1, -1 } })

/*
 * Till `fd` (-1: nothing) can be read: 0, -ETIMEDOUT, or -EINTR when it ended
 * before the deadline.
 */
int wfs_gpu_wait_for(int fd, const struct wfs_gpu_patience *patience);

/*
 * One request and its answer, checked: 0 with what the helper said, whatever
 * that was.  When one that can be stopped is to end the helper is told, and what
 * it says a few seconds later at most counts: -ETIMEDOUT or -EINTR is in its
 * answer.
 * Else -ETIMEDOUT, -EINTR, or -EIO when it is gone or said nonsense, after
 * which it must be ended.  *ret_fd is the caller's, -1 for none; NULL: none is
 * wanted, and one that comes is closed.
 */
int wfs_gpu_ask(struct wfs_gpu_process *process, struct wfs_gpu_request *ask,
		struct wfs_gpu_fds fds, const struct wfs_gpu_patience *patience,
		struct wfs_gpu_answer *ret_answer, int *ret_fd);

/*
 * Kills it.  The pid of what is yet to be waited for, since a driver's call may
 * keep even the dead; 0 for none.
 */
pid_t wfs_gpu_kill(struct wfs_gpu_process *process);

#endif
