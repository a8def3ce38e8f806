/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that answer READ requests.
 *
 * Reads may wait for a disk or a network; the threads of the session loop
 * may not, since `ls` and `stat` must answer meanwhile.  So a read is only
 * queued there and answered from here.
 */
#ifndef WFS_FS_READERS_H
#define WFS_FS_READERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct wfs_fs;
struct wfs_readers;
struct fuse_req;

#define WFS_READERS_DEFAULT 16
/* Largest READ: 256 pages, what the kernel sends by default. */
#define WFS_READ_MAX (1u << 20)

/* Answers one READ; blocks; `buf` has WFS_READ_MAX bytes. */
typedef void wfs_answer_fn(struct wfs_fs *fs, struct fuse_req *req, uint64_t id,
			   void *buf, size_t size, off_t off);

int wfs_readers_start(struct wfs_fs *fs, unsigned threads,
		      wfs_answer_fn *answer, struct wfs_readers **ret_readers);
/* Answers what is queued, then ends the threads.  NULL is fine. */
void wfs_readers_stop(struct wfs_readers *readers);

/* Takes over the request. */
void wfs_readers_queue(struct wfs_readers *readers, struct fuse_req *req,
		       uint64_t id, size_t size, off_t off);

#endif
