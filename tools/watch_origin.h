/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the registry in step with the checkpoints on web servers that the user
 * named, on a thread of its own.
 *
 * Each is listed again every minute, at once when one of its files turned out
 * to be another, and sooner while it cannot be had.  A server that does not
 * answer takes nothing away, but a name that another place has.  While a
 * better place has the name nothing is asked.
 */
#ifndef WFS_TOOLS_WATCH_ORIGIN_H
#define WFS_TOOLS_WATCH_ORIGIN_H

#include "core/model/registry.h"
#include "tools/load.h"
#include "tools/options.h"
#include "transport/origin/origin.h"

struct wfs_origin_watch;

/* All outlive it. */
struct wfs_origin_watch *
wfs_origin_watch_new(struct wfs_origins *origins, struct wfs_registry *registry,
		     const struct wfs_load_config *load,
		     const struct wfs_options *options);

/*
 * Starts the thread, and waits up to `wait_ns` until it has tried each once.
 * -EAGAIN.
 */
int wfs_origin_watch_start(struct wfs_origin_watch *watch, uint64_t wait_ns);

/* Ends the thread, after wfs_origins_stop.  NULL is fine. */
void wfs_origin_watch_free(struct wfs_origin_watch *watch);

#endif
