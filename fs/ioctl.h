/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctls: which call it is, and its head.
 *
 * A call on a file of a model is answered with its whole struct, also when it
 * fails, so that the reader learns where and why; what is no call of ours
 * with ENOTTY alone.
 */
#ifndef WFS_FS_IOCTL_H
#define WFS_FS_IOCTL_H

#include <stddef.h>

#include "fs/state.h"
#include "fs/weightfs_ioctl.h"

/*
 * The head of a call of `size` bytes that knows `flags`: 0, or -EINVAL.  What
 * is out of it is zero afterwards.
 */
int wfs_ioctl_head(struct weightfs_head *head, size_t size, uint32_t flags);

/* When `timeout_ns` from now is over, 0 being never: ns of wfs_now_ns. */
uint64_t wfs_ioctl_deadline(uint64_t timeout_ns);

/* The file of a model that `id` is: 0, -ENOTTY or -ESTALE. */
int wfs_ioctl_file(struct wfs_fs *fs, uint64_t id, struct wfs_node *ret_node);

#endif
