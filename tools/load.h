/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads several checkpoints at once, so that a mount of many models is as
 * soon there as the CPUs and the disk allow.
 */
#ifndef WFS_TOOLS_LOAD_H
#define WFS_TOOLS_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/model/model.h"
#include "core/source.h"
#include "tools/places.h"
#include "transport/remote/remote.h"

struct wfs_load_config {
	bool follow_links;
	enum wfs_trust trust;	   /* the least that is loaded */
	struct wfs_chunks *chunks; /* for every source; NULL: none */
	bool passes_on;		   /* what stands behind files is kept, too */
	struct wfs_places *places; /* whose turn it is; NULL: anybody's */
	/* As in struct wfs_hooks; NULL: nothing. */
	struct wfs_source *(*wrap_source)(struct wfs_source *inner);
};

/* One checkpoint. */
struct wfs_load_job {
	const char *name, *path;   /* the caller's */
	const char *beneath;	   /* as in struct wfs_file_source_config */
	struct wfs_remote *remote; /* it is a seed's, `path` is its name */
	struct wfs_source *source; /* the caller's: open already; or NULL */
	struct wfs_model *model;   /* result: a reference, or NULL */
	struct wfs_err err;	   /* why there is none */
};

/* Does all `jobs`; returns when the last one is done. */
void wfs_load_models(const struct wfs_load_config *config,
		     struct wfs_load_job *jobs, size_t count);

#endif
