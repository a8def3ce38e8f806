/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of an engine as a source: one epoch of an image.
 *
 * Each epoch is a source of its own, whose files say that they are others
 * (inode numbers and times), so that whatever was made of an older one is
 * another version of the model.  Bytes are copies, made as they are asked for;
 * a copy that was made while the engine changed them is thrown away.
 */
#ifndef WFS_TRANSPORT_LIVE_LIVE_H
#define WFS_TRANSPORT_LIVE_LIVE_H

#include "core/source.h"
#include "transport/live/image.h"

/*
 * The epoch that a sealed image has now; takes a reference to it.  -EBUSY
 * while it is being changed, -ESTALE when it was revoked.
 */
int wfs_live_open(struct wfs_live_image *image, struct wfs_source **ret_source,
		  struct wfs_err *err);

/*
 * A copy of [off, off + len) of a region of such a source, at most a chunk:
 * put with wfs_bounce_put.  -ESTALE, -EBUSY (it is being changed for longer
 * than a while, or too much is under way), -EIO.
 */
int wfs_live_take(struct wfs_region *region, uint64_t off, size_t len,
		  struct wfs_bounce **ret_bounce);
/*
 * Sends from [off, off + len) of such a region, from where it lies, as much as
 * a socket takes at once: how many bytes, or a negative errno.  -EAGAIN: none
 * now.  -EFAULT: there is no such memory.  -EBUSY and -ESTALE: that epoch is
 * over, and anything that was sent just now is none of it.
 */
ssize_t wfs_live_send(struct wfs_region *region, uint64_t off, size_t len,
		      int socket);
/* May that be done with those bytes? */
bool wfs_live_can_send(struct wfs_region *region, uint64_t off, size_t len);

/*
 * Where a region of such a source lies; the caller frees the pieces.  There is
 * none of a small file, nor of a tensor that is not contiguous.
 */
void wfs_live_map(struct wfs_region *region, struct wfs_live_memory *ret);

/* Is it worth asking for, now or in a moment? */
bool wfs_live_holds(struct wfs_region *region);

#endif
