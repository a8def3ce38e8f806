/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane of the fetch over another source: its chunks are read from a copy of
 * the model that lies somewhere else, on a disk or on a web server.  Of what
 * version the copy is nobody knows, so the lane is `doubted`.
 */
#ifndef WFS_TRANSPORT_FETCH_COPY_H
#define WFS_TRANSPORT_FETCH_COPY_H

#include "core/source.h"
#include "transport/fetch/fetch.h"

/* The context of a peer: what is there now. */
struct wfs_copy;

struct wfs_copy *wfs_copy_new(void);
void wfs_copy_free(struct wfs_copy *copy); /* NULL is fine */

/*
 * From now on the copy is that source (a reference of its own; NULL: nothing).
 * What was asked for of another one is answered with "no such region".
 */
void wfs_copy_set(struct wfs_copy *copy, struct wfs_source *source);

/* It, a reference; NULL: nothing is there. */
struct wfs_source *wfs_copy_get(struct wfs_copy *copy);

/* What the file of that index in the source's listing is called. */
void wfs_copy_id(struct wfs_copy *copy, size_t index,
		 uint8_t ret_id[WFS_WIRE_ID_BYTES]);

extern const struct wfs_lane_ops wfs_copy_lane_ops;

#endif
