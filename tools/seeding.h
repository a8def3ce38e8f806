/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From options to a seed, alone or beside a mount; and to the watch that
 * both of them keep over the checkpoints.
 */
#ifndef WFS_TOOLS_SEEDING_H
#define WFS_TOOLS_SEEDING_H

#include "core/digest/book.h"
#include "core/model/registry.h"
#include "tools/cmd.h"
#include "tools/daemon.h"
#include "tools/options.h"
#include "tools/seeds.h"
#include "tools/watch.h"
#include "transport/lend/lend.h"
#include "transport/rdma/export.h"
#include "transport/seed/seed.h"

/*
 * Loads what the options name into the registry.  The watch is the caller's
 * also when this fails.
 */
int wfs_offer_first(const struct wfs_options *options,
		    const struct wfs_load_config *load,
		    struct wfs_daemon *daemon, struct wfs_registry *registry,
		    struct wfs_watch **ret_watch, struct wfs_err *err);

/*
 * The book of digests in `dir`; without one in the usual place, or, when that
 * cannot be had (which is logged), nowhere.
 */
int wfs_open_book(const char *dir, struct wfs_book **ret_book,
		  struct wfs_err *err);

struct wfs_seeding {
	struct wfs_book *book;
	struct wfs_seed *seed;
	struct wfs_exporter *exporter; /* NULL: no RDMA */
	struct wfs_lender *lender;     /* NULL: this host gets bytes, too */
};

/*
 * Listens; wfs_seeding_start answers.  Where no directory for digests was
 * named and the usual one cannot be had, none are kept.  `holder` (NULL: none)
 * has what was fetched from elsewhere, `seeds` (NULL: none) where that came
 * from, for the metrics; both outlive it.
 */
int wfs_seeding_open(const struct wfs_options *options,
		     struct wfs_registry *registry,
		     const struct wfs_holder *holder, struct wfs_seeds *seeds,
		     struct wfs_seeding *ret_seeding, struct wfs_err *err);
/* Answers from now on.  Once; not before a fork. */
int wfs_seeding_start(struct wfs_seeding *seeding, struct wfs_err *err);
/* Fine for {0}. */
void wfs_seeding_close(struct wfs_seeding *seeding);

#endif
