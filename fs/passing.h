/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket over which readers pass descriptors, and get that of memory which
 * they were lent.
 *
 * A thread of its own takes them in, since that costs microseconds, and
 * notices who hung up.  Whoever may see the mount may connect: under
 * `allow_other` everybody, else the daemon's user and root.  A message counts
 * only with the token that an ioctl gave to the same process.
 */
#ifndef WFS_FS_PASSING_H
#define WFS_FS_PASSING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "fs/caller.h"
#include "fs/slots.h"

/* Connections at once: all, and of one user. */
#define WFS_PASSING_CLIENTS	 512
#define WFS_PASSING_CLIENTS_EACH 64

struct wfs_device;
struct wfs_passing;

/*
 * Listens in /run/weightfs-ioctl for root, else in weightfs/ of
 * $XDG_RUNTIME_DIR.  `slots`, and `device` (may be NULL), outlive it.  -ENOENT,
 * -EPERM … with a sentence.
 */
int wfs_passing_start(struct wfs_slots *slots, struct wfs_device *device,
		      bool everybody, struct wfs_passing **ret_passing,
		      struct wfs_err *err);
/* Hangs up: all slots are dead.  NULL is fine. */
void wfs_passing_stop(struct wfs_passing *passing);

/* Where it listens. */
const char *wfs_passing_path(const struct wfs_passing *passing);
/* What tokens are made with. */
const uint8_t *wfs_passing_key(const struct wfs_passing *passing);

#endif
