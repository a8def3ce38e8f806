/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs with CUDA, for core/device.h: helper processes do all of it, so that
 * nothing of CUDA is ever loaded by who opens this.
 */
#ifndef WFS_TRANSPORT_CUDA_DEVICE_H
#define WFS_TRANSPORT_CUDA_DEVICE_H

#include <stddef.h>

#include "core/device.h"

struct wfs_cuda_config {
	/*
	 * Who may be lent memory, which nothing keeps a borrower from writing:
	 * they trust each other.  NULL: this process's own user alone.  Copied.
	 */
	const uid_t *lend_to;
	size_t lend_to_count;
	/* A copy that nobody has a lease of is kept so long, for the next
	 * reader of the same. */
	uint64_t keep_ns;
	/* A helper keeps the last few steady files registered so long after a
	 * fill, for the next one; they cannot be evicted meanwhile. */
	uint64_t keep_files_ns;
};

/*
 * The program must call wfs_gpu_helper_main (helper.h) when it is executed with
 * that word.  -EMFILE, -EAGAIN with a sentence.
 */
int wfs_cuda_device_open(const struct wfs_cuda_config *config,
			 struct wfs_device **ret_dev, struct wfs_err *err);

/*
 * GPUs are looked for as soon as it is open, by a process that ends with that;
 * this waits for what it finds: -ENXIO with a sentence.
 */
int wfs_cuda_device_look(struct wfs_device *dev, struct wfs_err *err);

#endif
