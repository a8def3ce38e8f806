/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that want device memory: the only place that asks for GPUs
 * (core/device.h).
 */
#ifndef WFS_FS_IOCTL_DEVICE_H
#define WFS_FS_IOCTL_DEVICE_H

#include "core/device.h"
#include "fs/ioctl.h"
#include "fs/slots.h"

/* What a fill is about, beside what the reader says. */
struct wfs_device_call {
	struct wfs_device_caller caller;
	const struct wfs_node *node;
	const struct wfs_recipe *recipe;
	const struct wfs_slot *slot; /* the memory, or NULL: by handle */
	uint64_t until_ns;
	const int *stop; /* as wfs_device_fill has it */
	/* Where it is neither in a file nor in the arena; else NULL. */
	const struct wfs_device_feed *feed;
};

/*
 * Why a file is not in the arena: what its source said, -EINTR, or -ENOSPC
 * where it cannot be there.
 */
int wfs_ioctl_device_unfetched(int rc);

/*
 * Fills device memory with all segments, which were checked: 0, with
 * fill->done, or a negative errno with the stage and cuda_err in fill->head.
 * Blocks, unless there is no GPU.
 */
int wfs_ioctl_device_fill(struct wfs_fs *fs, const struct wfs_device_call *call,
			  struct weightfs_fill *fill);

/* Reply to `req`, now or later; heads were checked. */
void wfs_ioctl_device_lend(struct wfs_fs *fs, fuse_req_t req, uint64_t id,
			   const struct weightfs_lend *lend);
void wfs_ioctl_device_drop(struct wfs_fs *fs, fuse_req_t req,
			   const struct weightfs_drop *drop);

#endif
