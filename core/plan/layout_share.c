/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of the checkpoint several ranks of a layout want.
 *
 * Nobody says so: a plan that replicates heads gives two ranks the same
 * slice.  So recipes of ranks are compared.  How many ranks, from the first
 * on, have a piece in common is found once for each target, and those after
 * them are taken to be groups of as many, as key and value heads are; then
 * one other rank of the group tells which pieces of a recipe they are.  What
 * comes of a wrong guess is a byte read twice.
 *
 * Between runs that are cut short of their rows lie those of other ranks.
 */
#include <string.h>

#include "core/base/text.h"
#include "core/plan/inner.h"
#include "core/plan/nest.h"
#include "core/store/chunks.h"

/* Runs longer than this are no neighbours: their chunks are their own. */
#define CLOSE_BYTES (WFS_CHUNK_BYTES / 4)

static bool same_source(const struct wfs_piece *a, const struct wfs_piece *b)
{
	if (a->kind != WFS_PIECE_REGION || b->kind != WFS_PIECE_REGION ||
	    a->region != b->region || a->off != b->off || a->run != b->run ||
	    a->count != b->count || a->nloops != b->nloops ||
	    (a->count > 1 && a->stride != b->stride))
		return false;
	for (unsigned i = 0; i < a->nloops; i++)
		if (a->loops[i].count != b->loops[i].count ||
		    a->loops[i].stride != b->loops[i].stride)
			return false;
	return true;
}

static bool any_alike(const struct wfs_recipe *a, const struct wfs_recipe *b)
{
	for (uint32_t i = 0; i < a->n && i < b->n; i++)
		if (same_source(&a->pieces[i], &b->pieces[i]))
			return true;
	return false;
}

/* Another rank's recipe, or NULL. */
static struct wfs_recipe *other(const struct wfs_layout *layout,
				const struct wfs_target *target, uint32_t rank)
{
	struct wfs_recipe *recipe;
	struct wfs_err err;

	if (wfs_target_recipe(layout, target, rank, &recipe, &err))
		return NULL;
	return recipe;
}

static unsigned find_alike(const struct wfs_layout *layout,
			   struct wfs_target *target, uint32_t stage_first)
{
	unsigned tp = layout->spec.tp, n = atomic_load(&target->alike);
	struct wfs_recipe *first;

	if (target->rank >= 0)
		return 1;
	if (n)
		return n;
	first = other(layout, target, stage_first);
	for (n = 1; first && n < tp; n++) {
		struct wfs_recipe *next =
			other(layout, target, stage_first + n);
		bool alike = next && any_alike(first, next);

		wfs_recipe_free(next);
		if (!alike)
			break;
	}
	wfs_recipe_free(first);
	atomic_store(&target->alike, (uint16_t)n);
	return n;
}

/* Ranks [first, end) that this node serves, `rank` with them. */
static uint8_t count_served(const struct wfs_layout *layout, uint32_t first,
			    uint32_t end, uint32_t rank)
{
	unsigned n = 0;

	for (uint32_t i = first; i < end; i++)
		n += i == rank || wfs_rank_set_has(&layout->ranks, i);
	return (uint8_t)(n < UINT8_MAX ? n : UINT8_MAX);
}

static bool lies_between_others(const struct wfs_piece *piece)
{
	enum wfs_cast cast = (enum wfs_cast)piece->cast;
	struct wfs_nest nest;
	uint64_t stretch;

	if (piece->kind != WFS_PIECE_REGION)
		return false;
	wfs_nest_of(piece, &nest);
	stretch = wfs_nest_stretch(&nest, cast);
	return stretch < CLOSE_BYTES && stretch < wfs_nest_reach(&nest, cast);
}

/* Another rank of the group that may want the same; NULL: there is none. */
static struct wfs_recipe *neighbour_of(const struct wfs_layout *layout,
				       struct wfs_target *target, uint32_t rank,
				       uint8_t *ret_same)
{
	uint32_t tp = layout->spec.tp, first = rank / tp * tp;
	uint32_t alike = find_alike(layout, target, first);
	uint32_t group = first + (rank - first) / alike * alike;
	uint32_t end = group + alike;

	if (end > first + tp)
		end = first + tp;
	if (end - group < 2)
		return NULL;
	*ret_same = count_served(layout, group, end, rank);
	return other(layout, target, rank > group ? rank - 1 : rank + 1);
}

struct wfs_recipe *wfs_layout_share(const struct wfs_layout *layout,
				    struct wfs_target *target, uint32_t rank,
				    struct wfs_recipe *recipe)
{
	uint32_t tp = layout->spec.tp, first = rank / tp * tp;
	uint8_t served = count_served(layout, first, first + tp, rank);
	struct wfs_recipe *neighbour;
	uint8_t same = 0;

	/* Nothing keeps bytes, or there is nobody to keep them for. */
	if (!layout->base->source->chunks || served < 2)
		return recipe;
	neighbour = neighbour_of(layout, target, rank, &same);
	for (uint32_t i = 0; i < recipe->n; i++) {
		/* The recipe is ours, which owns its pieces. */
		struct wfs_piece *piece =
			(struct wfs_piece *)(uintptr_t)&recipe->pieces[i];

		if (lies_between_others(piece))
			piece->around = served;
		if (neighbour && i < neighbour->n &&
		    same_source(piece, &neighbour->pieces[i]))
			piece->same = same;
	}
	wfs_recipe_free(neighbour);
	return recipe;
}
