/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fill that has not ended: what the files of it share.
 */
#ifndef WFS_FS_FILL_INNER_H
#define WFS_FS_FILL_INNER_H

#include "fs/copy.h"
#include "fs/fill.h"
#include "fs/ioctl_device.h"

enum wfs_filling_phase {
	WFS_FILLING_RESTS, /* the target is not being written */
	WFS_FILLING_WRITES,
	WFS_FILLING_ANSWERED,
};

struct wfs_filling {
	struct wfs_work work;
	struct wfs_deadline deadline;
	atomic_int refs;
	struct wfs_fs *fs;
	fuse_req_t req; /* NULL: answered, the outcome is the ticket's */
	struct wfs_device_caller caller;
	struct weightfs_fill fill;
	struct wfs_node node;
	struct wfs_node_recipe recipe;
	bool has_recipe;
	struct wfs_slot *memory, *event, *ticket;
	bool pinned; /* it has the file in the arena */
	bool fed;    /* … where it cannot be: a device is fed with it */
	struct wfs_copy copy;
	uint64_t began_ns, until_ns;
	uint64_t done_before; /* bytes, by calls that were interrupted */
	atomic_int phase;
	atomic_int stop; /* 0, or the errno that it is to stop with */
	int bell;	 /* of a device's: an eventfd that says so, or -1 */
	atomic_bool interrupted;
};

/* One more who uses it, and one less. */
void wfs_filling_get(struct wfs_filling *f);
void wfs_filling_put(struct wfs_filling *f);

/*
 * As struct wfs_device_feed has it, of the filling `ctx`.  Reads by threads of
 * its own, so that one that a source hangs in can be left behind.
 */
int wfs_fill_feed(void *ctx, struct wfs_device_room *room, void *to,
		  uint64_t off, uint64_t len,
		  const struct wfs_device_patience *patience);

/* What a source may say of bytes; all else is EIO, and was logged. */
int wfs_fill_source_error(ssize_t rc);

/* As struct wfs_device_feed has `land`. */
int wfs_fill_land(void *ctx, struct wfs_landing_ring *ring, uint64_t at,
		  uint64_t off, uint64_t len,
		  const struct wfs_device_patience *patience);
/* Is it worth trying? */
bool wfs_fill_may_land(const struct wfs_filling *f);

/*
 * Holds what the call says against the file and its slots, which it takes.  0,
 * or a negative errno and f->copy.stage.
 */
int wfs_fill_prepare(struct wfs_filling *f, uint64_t id);

#endif
