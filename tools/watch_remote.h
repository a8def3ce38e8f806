/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the registry in step with what seeds offer, on a thread of its own:
 * a seed that hangs keeps nobody from what lies on this node's disks.
 *
 * A model whose seeds are gone for good leaves the registry once nobody has a
 * file of it open, unless all its bytes are on this node.
 *
 * A name that a model of a models directory has is not taken from it, and that
 * of a web server's only for the same version (rival.h); where that is proven to
 * be the very same, the name stays, and seeds are one more source of its bytes.
 */
#ifndef WFS_TOOLS_WATCH_REMOTE_H
#define WFS_TOOLS_WATCH_REMOTE_H

#include "core/model/registry.h"
#include "core/store/store.h"
#include "tools/load.h"
#include "transport/remote/remote.h"

struct wfs_remote_watch;

/* All outlive it. */
struct wfs_remote_watch *
wfs_remote_watch_new(struct wfs_remote *remote, struct wfs_registry *registry,
		     const struct wfs_load_config *load,
		     const struct wfs_prefer *prefer);

/*
 * Starts the thread that looks, and waits up to `wait_ns` until it has looked
 * once.  -EAGAIN.
 */
int wfs_remote_watch_start(struct wfs_remote_watch *watch, uint64_t wait_ns);

/* From now on that store has bytes of models; it outlives the watch. */
void wfs_remote_watch_keep(struct wfs_remote_watch *watch,
			   struct wfs_store *store);

/* Ends the thread, after wfs_remote_stop.  NULL is fine. */
void wfs_remote_watch_free(struct wfs_remote_watch *watch);

#endif
