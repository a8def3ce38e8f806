/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of GPUs that this process itself uses, read for others.
 *
 * Whoever owns the memory is in the middle of its work: copies go over streams
 * of the least priority, and nothing that a thread has set (its device, how it
 * captures) is another afterwards.  No more memory is pinned than a few copies
 * under way need.
 */
#ifndef WFS_TRANSPORT_CUDA_READER_H
#define WFS_TRANSPORT_CUDA_READER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/err.h"

struct wfs_gpu_reader;

/*
 * For reads of up to `room` bytes.  Loads CUDA into this process, rather the
 * one that it has already: -ENXIO with a sentence, where there is none.
 */
int wfs_gpu_reader_open(size_t room, struct wfs_gpu_reader **ret_reader,
			struct wfs_err *err);
/* No read is under way.  NULL is fine. */
void wfs_gpu_reader_close(struct wfs_gpu_reader *reader);

/*
 * Copies `n` pieces, all of the memory of one GPU, to `off` in the file `fd`,
 * one after another; when it returns it has happened.  From any thread; waits
 * where too many are under way.  -EFAULT for what is no such memory (any
 * more), -EIO, -ENOMEM.
 */
int wfs_gpu_reader_read(struct wfs_gpu_reader *reader,
			const struct iovec *pieces, int n, int fd,
			uint64_t off);

#endif
