/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ghosts: the tensors that a plan asks a checkpoint for, when there is no
 * checkpoint and its tensors are to be found out.
 *
 * A ghost has a name, and a shape that "expect" says or that is being tried.
 * Evaluating a rule with a table of ghosts (struct wfs_eval) asks for some;
 * those of an evaluation that fits are kept, the others forgotten.
 */
#ifndef WFS_CORE_PLAN_GHOSTS_H
#define WFS_CORE_PLAN_GHOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/model/dtype.h"
#include "core/model/pool.h"

struct wfs_node;

struct wfs_ghost {
	const char *name;
	const uint64_t *shape; /* NULL for a scalar */
	uint8_t ndim;
	uint8_t dtype;	   /* enum wfs_dtype, once kept */
	bool shaped;	   /* the shape is known */
	bool kept;	   /* a rule asks for it */
	bool cast, formed; /* by the rule; what it was before is not known */
	const struct wfs_node *rule; /* that asked first: the value */
};

/* Start with {0}; one thread. */
struct wfs_ghosts {
	struct wfs_pool pool; /* of names and shapes */
	struct wfs_ghost *rows;
	uint32_t count, cap;
	uint32_t *slots; /* row + 1 by the name's hash, 0: free */
	uint32_t slot_count;
	/* The evaluation that is under way, from wfs_ghosts_begin on. */
	uint32_t *asked; /* rows, some of them several times */
	uint32_t asked_count, asked_cap;
	uint8_t dtype, ndim;   /* of what has none yet */
	const uint64_t *shape; /* the same */
	bool cast, formed;     /* cast() or reshape() was evaluated */
	bool missed; /* wfs_ghosts_has said no; the caller's to reset */
};

void wfs_ghosts_clear(struct wfs_ghosts *ghosts);

/* Does a rule ask for it, as far as is known yet? */
bool wfs_ghosts_has(struct wfs_ghosts *ghosts, const char *name);

/* What "expect" says; the first one is right.  All copied. */
void wfs_ghosts_expect(struct wfs_ghosts *ghosts, const char *name,
		       unsigned ndim, const uint64_t *shape);

/* From now on what has no dtype or shape has these (borrowed). */
void wfs_ghosts_begin(struct wfs_ghosts *ghosts, enum wfs_dtype dtype,
		      unsigned ndim, const uint64_t *shape);
/* A rule asks for it: its row, as it is or as it is being tried. */
struct wfs_ghost wfs_ghosts_ask(struct wfs_ghosts *ghosts, const char *name);
/* The first without a known shape that was asked for since, or NULL. */
const struct wfs_ghost *wfs_ghosts_hole(const struct wfs_ghosts *ghosts);
/* Is the shape of that one being tried? */
bool wfs_ghosts_tries(const struct wfs_ghosts *ghosts, const char *name);
/* What was asked for since is right. */
void wfs_ghosts_keep(struct wfs_ghosts *ghosts, const struct wfs_node *rule);

#endif
