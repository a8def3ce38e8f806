/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine has of GPUs, told without using them.
 */
#ifndef WFS_TRANSPORT_CUDA_GPUS_H
#define WFS_TRANSPORT_CUDA_GPUS_H

#include <stddef.h>

#include "core/base/err.h"

struct wfs_gpu {
	char bus[32];  /* "0000:17:00.0" */
	char name[96]; /* "" when the driver does not say */
};

struct wfs_gpus {
	struct wfs_gpu *rows; /* freed by the caller */
	size_t count;
	int runtime, driver; /* 1000 * major + 10 * minor */
};

/*
 * -ENXIO with a sentence: no CUDA, or no device.  Loads CUDA into this process
 * for good, so not for a daemon.
 */
int wfs_gpus_list(struct wfs_gpus *ret_gpus, struct wfs_err *err);

#endif
