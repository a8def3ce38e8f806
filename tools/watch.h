/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the registry in step with what lies on the disk.
 *
 * Looks at every checkpoint every few seconds (polls: that works over network
 * file systems too).  A new or changed one is loaded once two looks in a row
 * saw the same, since it may still be being written; one that vanished for
 * two looks is withdrawn.  What is wrong with a checkpoint is said once, in
 * the log and as an event, until the checkpoint changes.
 */
#ifndef WFS_TOOLS_WATCH_H
#define WFS_TOOLS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/registry.h"
#include "tools/load.h"
#include "tools/options.h"

struct wfs_watch_config {
	struct wfs_registry *registry;	       /* outlives the watch */
	const char *models_dir;		       /* borrowed; NULL: none */
	const struct wfs_option_model *models; /* borrowed */
	size_t model_count;
	bool elsewhere; /* seeds may bring models: none here is no error */
	uint64_t rescan_ns;
	struct wfs_load_config load;
	/*
	 * Told each sentence of the first look that somebody should read;
	 * may be NULL.
	 */
	void (*complain)(void *ctx, const char *text);
	void *ctx;
};

struct wfs_watch;

struct wfs_watch *wfs_watch_new(const struct wfs_watch_config *config);

/*
 * The first look: loads everything there is at once.  -ENOENT with a
 * sentence when neither a models directory exists nor a checkpoint could be
 * loaded: nothing is left to serve.
 */
int wfs_watch_first(struct wfs_watch *watch, struct wfs_err *err);

/* One more look, as the thread does it. */
void wfs_watch_look(struct wfs_watch *watch);

/* Starts the thread that looks.  -EAGAIN. */
int wfs_watch_start(struct wfs_watch *watch);

/* Ends the thread, after the look it is at.  Fine when none was started. */
void wfs_watch_stop(struct wfs_watch *watch);

/* NULL is fine.  The thread must have ended. */
void wfs_watch_free(struct wfs_watch *watch);

#endif
