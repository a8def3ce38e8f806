/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that are sent from where an engine has them, with no copy between.
 *
 * For a chunk whose digest is known.  The kernel reads the memory as it sends,
 * so what is gone is an error here as well (bounce.h), and the epoch is looked
 * at after each piece.  But a piece went out by then: so the last bytes of the
 * chunk are copied and sent when all others were of the epoch, and a chunk that
 * has bytes of another never becomes whole.
 */
#ifndef WFS_TRANSPORT_LIVE_DIRECT_H
#define WFS_TRANSPORT_LIVE_DIRECT_H

#include "transport/live/live.h"

struct wfs_live_direct;

/*
 * [off, off + len) of a region of such a source, which outlives it: a chunk at
 * most.  NULL: that has to be copied.
 */
struct wfs_live_direct *wfs_live_direct_new(struct wfs_region *region,
					    uint64_t off, size_t len);
void wfs_live_direct_free(struct wfs_live_direct *direct);

/*
 * Sends from byte `at` on up to `len` bytes, without waiting for the socket,
 * each byte once and in order: how many, or a negative errno.  -EAGAIN: none
 * now.  After any other the rest must not be sent: -EFAULT where there is no
 * such memory, -ESTALE and -EBUSY when the epoch is over.
 */
ssize_t wfs_live_direct_send(struct wfs_live_direct *direct, int socket,
			     size_t at, size_t len);

#endif
