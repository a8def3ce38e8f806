/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount has from elsewhere, from its options to its end: the models of
 * seeds, and checkpoints on web servers.
 */
#ifndef WFS_TOOLS_SEEDS_H
#define WFS_TOOLS_SEEDS_H

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/model/registry.h"
#include "core/store/store.h"
#include "tools/daemon.h"
#include "tools/load.h"
#include "tools/options.h"

struct wfs_seeds;

/* Do the options name any? */
bool wfs_seeds_any(const struct wfs_options *options);

/*
 * Asks the seeds, on threads of its own, and waits a little (option
 * 'seed_wait': so long) for what they offer to be loaded; what takes longer comes behind, which the daemon's
 * starter is told.  All outlive it.
 */
int wfs_seeds_open(const struct wfs_options *options,
		   struct wfs_registry *registry,
		   const struct wfs_load_config *load,
		   struct wfs_daemon *daemon, struct wfs_seeds **ret_seeds,
		   struct wfs_err *err);

/*
 * What the store has every byte of stays when its seeds are gone for good.
 * The store outlives wfs_seeds_leave.  `seeds` may be NULL.
 */
void wfs_seeds_keep(struct wfs_seeds *seeds, struct wfs_store *store);

/* Reads of seeds' models fail from now on; nothing new comes.  From any
 * thread.  NULL is fine. */
void wfs_seeds_stop(struct wfs_seeds *seeds);

/* Ends its thread; the sources may be read still, and fail. */
void wfs_seeds_leave(struct wfs_seeds *seeds);

/* When nothing of the registry is left.  NULL is fine. */
void wfs_seeds_close(struct wfs_seeds *seeds);

/* For struct wfs_fs_config. */
void wfs_seeds_report(void *seeds, struct wfs_text *text);
void wfs_seeds_measure(void *seeds, struct wfs_text *text);
/* For struct wfs_seed_config. */
void wfs_seeds_measure_open(void *seeds, struct wfs_text *text);

#endif
