/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that answer what may have to wait.
 *
 * Reads and fills may wait for a disk or a network; the threads of the session
 * loop may not, since `ls` and `stat` must answer meanwhile.  So they are only
 * queued there and answered from here.
 */
#ifndef WFS_FS_WORKERS_H
#define WFS_FS_WORKERS_H

#include <stddef.h>

struct wfs_workers;

#define WFS_WORKERS_DEFAULT 16
/* What each thread has to put bytes in.  Also the largest READ: 256 pages,
   what the kernel sends by default. */
#define WFS_WORK_ROOM (1u << 20)

/* Something to do; embedded in what it is about. */
struct wfs_work {
	struct wfs_work *next; /* the workers' */
	/* Once, with WFS_WORK_ROOM bytes; *work is its own from then on. */
	void (*run)(struct wfs_work *work, void *room);
};

/* Up to `threads` (0: the default), started as they are needed. */
int wfs_workers_start(unsigned threads, struct wfs_workers **ret_workers);
/* Does what is queued, then ends the threads.  NULL is fine. */
void wfs_workers_stop(struct wfs_workers *workers);

void wfs_workers_queue(struct wfs_workers *workers, struct wfs_work *work);

/*
 * Calls `part` for 0 to parts - 1, on this thread and on those that have
 * nothing else to do, up to one a CPU; returns when all have returned.
 * `workers` NULL: on this thread.
 */
void wfs_workers_share(struct wfs_workers *workers, unsigned parts,
		       void (*part)(void *ctx, unsigned i), void *ctx);

#endif
