/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other places of models that seeds offer: opens those of one kind while
 * a version of their seeds is served, looks again whether they changed, and
 * hands them to the remote, on a thread of its own.
 */
#ifndef WFS_TOOLS_COPIES_H
#define WFS_TOOLS_COPIES_H

#include "core/model/registry.h"
#include "tools/options.h"
#include "transport/origin/origin.h"
#include "transport/remote/remote.h"

struct wfs_copies_config {
	struct wfs_remote *remote;
	struct wfs_origins *origins; /* NULL: no place of that kind */
	struct wfs_registry *registry;
	const struct wfs_options *options;
	enum wfs_place place; /* disk or origin */
};

/*
 * Is a seed's word not enough for models that another place has, whose digest
 * manifest is to say which version is offered from seeds?
 */
bool wfs_copies_vouch(const struct wfs_options *options);
/* The same of one name. */
bool wfs_copies_vouch_for(const struct wfs_options *options, const char *name);

struct wfs_copies;

/* NULL when the options name no such place.  All outlive it. */
struct wfs_copies *wfs_copies_new(const struct wfs_copies_config *config);

/*
 * Starts the thread, and waits up to `wait_ns` until it has looked once.
 * -EAGAIN.  NULL is fine.
 */
int wfs_copies_start(struct wfs_copies *copies, uint64_t wait_ns);

/* Ends the thread, after wfs_remote_stop and wfs_origins_stop.  NULL is fine */
void wfs_copies_free(struct wfs_copies *copies);

#endif
