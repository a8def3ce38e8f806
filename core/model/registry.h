/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The models that are served now, and under which slot.
 *
 * A slot (24 bits, never 0) is the hash of a model's name and fingerprint,
 * the next free one on a collision: the same checkpoint has the same inode
 * numbers after a remount, a changed one has others, and nothing need be
 * stored.  A changed checkpoint is a new model in a slot of its own.  While
 * the old one was opened within the last `switch_after` the name stays with
 * it; afterwards the name moves and the old one lives on for those who hold
 * it, until nothing of it is open.
 *
 * A layout (`llama@tp4`) is a model derived from another one's version; it
 * goes with it.
 */
#ifndef WFS_CORE_MODEL_REGISTRY_H
#define WFS_CORE_MODEL_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "core/model/model.h"

#define WFS_SLOT_BITS 24

struct wfs_registry;

struct wfs_registry_hooks {
	void *ctx;
	/* A name appeared, moved or vanished.  No lock is held. */
	void (*renamed)(void *ctx, const char *name);
	/* Nothing of this slot will be served again.  No lock is held. */
	void (*retired)(void *ctx, uint32_t slot);
};

struct wfs_registry *wfs_registry_new(uint64_t switch_after_ns);
void wfs_registry_free(struct wfs_registry *reg); /* NULL is fine */

/* Set once, before the models are looked up; {0} takes them off. */
void wfs_registry_hook(struct wfs_registry *reg,
		       struct wfs_registry_hooks hooks);

/*
 * Offers `model` (takes over the caller's reference) under its name.  A
 * model of that name with the same fingerprint: nothing happens.  With
 * another: it waits in line, or moves in at once when the old one is quiet
 * or stale; a newer offer replaces one that waits.
 */
void wfs_registry_offer(struct wfs_registry *reg, struct wfs_model *model);

/*
 * The checkpoint is gone: the name goes after it has been quiet, like a
 * switch.
 */
void wfs_registry_withdraw(struct wfs_registry *reg, const char *name);

/* Moves the names whose time has come.  Call every second or so. */
void wfs_registry_tick(struct wfs_registry *reg);

struct wfs_layout_options;

/* Layouts that appeared by look-up are kept up to this many, the idle ones. */
#define WFS_LAYOUTS_MAX 16

/*
 * From now on `<model>@<layout>` leads to a layout of the model, compiled
 * when it is first looked up and kept as long as that version of the model.
 * Those called `names` (copied) are listed whenever their model is there, by
 * wfs_registry_tick.  `options` stay the caller's and must outlive the
 * registry.  Once, before anything is looked up.
 */
void wfs_registry_set_layouts(struct wfs_registry *reg,
			      const struct wfs_layout_options *options,
			      const char *const *names, size_t count);

/*
 * What `name` leads to: a counted reference and the slot.  -ENOENT for a
 * name that nothing has, -EINVAL (logged, and an event) for a layout that
 * cannot be: a refused name leaves nothing behind.  `list`: a layout is
 * listed from now on, as if it were a model.
 */
int wfs_registry_find(struct wfs_registry *reg, const char *name, bool list,
		      struct wfs_model **ret_model, uint32_t *ret_slot);

/* A counted reference and the slot, or NULL; compiles nothing. */
struct wfs_model *wfs_registry_by_name(struct wfs_registry *reg,
				       const char *name, uint32_t *ret_slot);
struct wfs_model *wfs_registry_by_slot(struct wfs_registry *reg, uint32_t slot);

/* A file of the slot was opened (delta 1) or released (-1). */
void wfs_registry_note_open(struct wfs_registry *reg, uint32_t slot, int delta);

/* Is a file of it open, or was one opened within the last `ns`? */
bool wfs_registry_is_open(struct wfs_registry *reg, uint32_t slot, uint64_t ns);

/* Rewritten in place: may be replaced without waiting. */
void wfs_registry_note_stale(struct wfs_registry *reg, uint32_t slot);

struct wfs_registry_row {
	char name[256];
	uint32_t slot;
	struct wfs_model *model; /* counted reference */
	uint32_t opens;
	bool named;	/* its name leads to it (else: an old version) */
	bool listed;	/* named, and no layout that nobody configured */
	bool stale;	/* rewritten in place */
	bool switching; /* a newer one waits */
};

/* Rows in byte order of the names; free with wfs_registry_rows_free. */
size_t wfs_registry_rows(struct wfs_registry *reg,
			 struct wfs_registry_row **ret_rows);
void wfs_registry_rows_free(struct wfs_registry_row *rows, size_t count);

/* When a name last appeared, moved or vanished (CLOCK_REALTIME). */
struct timespec wfs_registry_changed(struct wfs_registry *reg);

#endif
