/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers of an engine whose memory a model is, as a manifest says it.
 *
 * Bytes in memory have no digest that outlives them.  What names them is which
 * process they were in, and at which of its epochs, rank by rank; or a version
 * that the engine's operator declared, which is a word and no proof.
 */
#ifndef WFS_TRANSPORT_REMOTE_WORKERS_H
#define WFS_TRANSPORT_REMOTE_WORKERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/live.h"

/* Immutable once it is shared. */
struct wfs_workers {
	atomic_uint refs;
	struct wfs_live live; /* what it points to is freed with this */
	uint32_t tp, world;   /* ranks of a stage, of all */
	uint32_t *ranks;      /* live.ranks: ascending, each once, some */
	struct wfs_live_origin *origins; /* live.origins */
};

/*
 * Reads the manifest's object; -EBADMSG with a sentence that begins with
 * `what`.  One reference.  Nodes of who says of no rank where it was first are
 * "".
 */
int wfs_workers_parse(yyjson_val *object, const char *what,
		      struct wfs_workers **ret, struct wfs_err *err);

/* A copy without ranks, with room for `world`. */
struct wfs_workers *wfs_workers_like(const struct wfs_workers *workers);
struct wfs_workers *wfs_workers_get(struct wfs_workers *workers);
void wfs_workers_put(struct wfs_workers *workers); /* NULL is fine */

/* Where the rank was first; NULL: it is not among them. */
const struct wfs_live_origin *
wfs_workers_origin(const struct wfs_workers *workers, uint32_t rank);
bool wfs_workers_same_origin(const struct wfs_live_origin *a,
			     const struct wfs_live_origin *b);

/*
 * What two say differently that must be the same for both to be ranks of one
 * model: "layout", …; NULL: nothing.
 */
const char *wfs_workers_differ(const struct wfs_workers *a,
			       const struct wfs_workers *b);

/* Adds "ranks 0-2, 5". */
void wfs_workers_add_ranks(struct wfs_text *text, const bool *has,
			   uint32_t world);

/* The rank that a file is of; -EINVAL: of none. */
int wfs_workers_rank_of(const struct wfs_workers *workers, const char *path,
			uint32_t *ret_rank);

#endif
