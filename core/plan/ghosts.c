/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of ghosts, by name.
 */
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/ghosts.h"

void wfs_ghosts_clear(struct wfs_ghosts *ghosts)
{
	wfs_pool_clear(&ghosts->pool);
	free(ghosts->rows);
	free(ghosts->slots);
	free(ghosts->asked);
	memset(ghosts, 0, sizeof(*ghosts));
}

/* Where the name is, or where it belongs. */
static uint32_t slot_of(const struct wfs_ghosts *g, const char *name)
{
	uint64_t hash = wfs_hash(name, strlen(name), WFS_HASH_SEED);
	uint32_t at = (uint32_t)hash & (g->slot_count - 1);

	while (g->slots[at] && strcmp(g->rows[g->slots[at] - 1].name, name))
		at = (at + 1) & (g->slot_count - 1);
	return at;
}

/* The row of that name, or -1. */
static int64_t find(const struct wfs_ghosts *g, const char *name)
{
	if (!g->slot_count)
		return -1;
	return (int64_t)g->slots[slot_of(g, name)] - 1;
}

bool wfs_ghosts_has(struct wfs_ghosts *ghosts, const char *name)
{
	int64_t at = find(ghosts, name);

	if (at >= 0 && ghosts->rows[at].kept)
		return true;
	ghosts->missed = true;
	return false;
}

static void grow_slots(struct wfs_ghosts *g)
{
	free(g->slots);
	g->slot_count = g->slot_count ? g->slot_count * 2 : 256;
	g->slots = wfs_calloc(g->slot_count, sizeof(*g->slots));
	for (uint32_t i = 0; i < g->count; i++)
		g->slots[slot_of(g, g->rows[i].name)] = i + 1;
}

/* The row of that name, a new one if there is none. */
static uint32_t row_of(struct wfs_ghosts *g, const char *name)
{
	int64_t at = find(g, name);
	struct wfs_ghost *row;

	if (at >= 0)
		return (uint32_t)at;
	if (g->count == g->cap) {
		g->cap = g->cap ? g->cap * 2 : 128;
		g->rows = wfs_realloc(g->rows, g->cap * sizeof(*g->rows));
	}
	row = &g->rows[g->count++];
	*row = (struct wfs_ghost){
		.name = wfs_pool_text(&g->pool, name, strlen(name)),
	};
	if (g->count * 2 > g->slot_count)
		grow_slots(g);
	else
		g->slots[slot_of(g, name)] = g->count;
	return g->count - 1;
}

static void set_shape(struct wfs_ghosts *g, struct wfs_ghost *row,
		      unsigned ndim, const uint64_t *shape)
{
	size_t bytes = ndim * sizeof(*shape);

	row->shaped = true;
	row->ndim = (uint8_t)ndim;
	row->shape = NULL;
	if (ndim)
		row->shape = memcpy(wfs_pool_alloc(&g->pool, bytes, 1), shape,
				    bytes);
}

void wfs_ghosts_expect(struct wfs_ghosts *ghosts, const char *name,
		       unsigned ndim, const uint64_t *shape)
{
	uint32_t at = row_of(ghosts, name);

	if (!ghosts->rows[at].shaped)
		set_shape(ghosts, &ghosts->rows[at], ndim, shape);
}

void wfs_ghosts_begin(struct wfs_ghosts *ghosts, enum wfs_dtype dtype,
		      unsigned ndim, const uint64_t *shape)
{
	ghosts->asked_count = 0;
	ghosts->dtype = (uint8_t)dtype;
	ghosts->ndim = (uint8_t)ndim;
	ghosts->shape = shape;
	ghosts->cast = ghosts->formed = false;
}

struct wfs_ghost wfs_ghosts_ask(struct wfs_ghosts *ghosts, const char *name)
{
	uint32_t at = row_of(ghosts, name);
	struct wfs_ghost row = ghosts->rows[at];

	if (ghosts->asked_count == ghosts->asked_cap) {
		ghosts->asked_cap = ghosts->asked_cap * 2 + 16;
		ghosts->asked =
			wfs_realloc(ghosts->asked,
				    ghosts->asked_cap * sizeof(*ghosts->asked));
	}
	ghosts->asked[ghosts->asked_count++] = at;
	if (!row.kept)
		row.dtype = ghosts->dtype;
	if (!row.shaped) {
		row.ndim = ghosts->ndim;
		row.shape = ghosts->shape;
	}
	return row;
}

const struct wfs_ghost *wfs_ghosts_hole(const struct wfs_ghosts *ghosts)
{
	for (uint32_t i = 0; i < ghosts->asked_count; i++)
		if (!ghosts->rows[ghosts->asked[i]].shaped)
			return &ghosts->rows[ghosts->asked[i]];
	return NULL;
}

bool wfs_ghosts_tries(const struct wfs_ghosts *ghosts, const char *name)
{
	int64_t at = find(ghosts, name);

	return at >= 0 && !ghosts->rows[at].shaped;
}

void wfs_ghosts_keep(struct wfs_ghosts *ghosts, const struct wfs_node *rule)
{
	for (uint32_t i = 0; i < ghosts->asked_count; i++) {
		struct wfs_ghost *row = &ghosts->rows[ghosts->asked[i]];
		bool hole = !row->shaped;

		if (hole)
			set_shape(ghosts, row, ghosts->ndim, ghosts->shape);
		if (row->kept)
			continue;
		row->kept = true;
		row->dtype = ghosts->dtype;
		row->cast = ghosts->cast;
		row->formed = ghosts->formed && hole;
		row->rule = rule;
	}
	ghosts->asked_count = 0;
}
