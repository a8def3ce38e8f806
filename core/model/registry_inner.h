/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the registry share; nobody else includes it.
 *
 *	registry.c	   names, slots, versions
 *	registry_layouts.c layouts, which are compiled when they are looked up
 *
 * `lock` guards all of it; functions here that end in _locked want it held.
 */
#ifndef WFS_CORE_MODEL_REGISTRY_INNER_H
#define WFS_CORE_MODEL_REGISTRY_INNER_H

#include <pthread.h>

#include "core/model/registry.h"

/* A layout that is listed whenever its model is there. */
struct wfs_configured {
	char *name;
	uint32_t tried; /* the slot of the model it was last compiled for */
};

struct wfs_record {
	uint32_t slot;
	struct wfs_model *model;
	struct wfs_model *waiting; /* newer one of that name, or NULL */
	bool named;
	bool withdrawn; /* the checkpoint is gone */
	uint32_t base;	/* slot of the model that a layout is made of, or 0 */
	bool unlisted;	/* a layout that appeared by look-up */
	atomic_bool stale;
	atomic_uint opens;
	atomic_ullong last_open_ns; /* 0 = never */
};

struct wfs_registry {
	pthread_rwlock_t lock;
	struct wfs_record **records;
	size_t count, cap;
	uint64_t switch_after_ns;
	struct timespec changed; /* CLOCK_REALTIME */
	struct wfs_registry_hooks hooks;
	const struct wfs_layout_options *layouts; /* NULL: none */
	struct wfs_configured *configured;
	size_t configured_count;
	pthread_mutex_t compiling; /* so that each is compiled once */
};

/* What changed while the lock was held; told to the hooks afterwards. */
struct wfs_changes {
	char **names;
	size_t name_count;
	uint32_t *slots;
	size_t slot_count;
};

struct wfs_record *wfs_record_by_slot_locked(const struct wfs_registry *reg,
					     uint32_t slot);
struct wfs_record *wfs_record_by_name_locked(const struct wfs_registry *reg,
					     const char *name);
/* Takes over the caller's reference to `model`. */
struct wfs_record *wfs_record_add_locked(struct wfs_registry *reg,
					 struct wfs_model *model,
					 struct wfs_changes *ch);

/* A name appeared or went; `ch` is told when the lock is given up. */
void wfs_changes_name(struct wfs_registry *reg, const char *name,
		      struct wfs_changes *ch);
/* Tells the hooks, with no lock held, and frees the list. */
void wfs_changes_tell(struct wfs_registry *reg, struct wfs_changes *ch);

/* registry_layouts.c: the layouts of a version lose their names with it. */
void wfs_layouts_drop_locked(struct wfs_registry *reg, uint32_t base,
			     struct wfs_changes *ch);
/* Compiles what is configured and not there; no lock is held. */
void wfs_layouts_list(struct wfs_registry *reg);
void wfs_layouts_free(struct wfs_registry *reg);

#endif
