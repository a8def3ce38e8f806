/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings an eventfd that belongs to a stranger.
 *
 * write(2) to an eventfd waits when its counter is full, which its owner can
 * see to, and O_NONBLOCK is the owner's to take off.  So the kernel rings it,
 * at the end of an asynchronous read of our own, and that never waits.
 */
#ifndef WFS_FS_RING_H
#define WFS_FS_RING_H

struct wfs_ring;

/* 0, or a negative errno where the kernel has no AIO. */
int wfs_ring_new(struct wfs_ring **ret_ring);
void wfs_ring_free(struct wfs_ring *ring); /* NULL is fine */

/* 0, or -EINVAL when `event` is no eventfd. */
int wfs_ring(struct wfs_ring *ring, int event);

#endif
