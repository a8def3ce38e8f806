/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a file lies at its source as it is.
 */
#include "core/plan/recipe.h"

static uint64_t plain_of(const struct wfs_piece *p, uint64_t at, uint64_t step,
			 uint64_t off, uint64_t *ret_off)
{
	uint64_t row, in;

	if (p->count > 1 && p->stride == p->run && step == p->run) {
		*ret_off = p->off + (off - at);
		in = off - at;
		return in < p->run * p->count ? p->run * p->count - in : 0;
	}
	row = (off - at) / step;
	in = (off - at) % step;
	*ret_off = p->off + row * p->stride + in;
	return row < p->count && in < p->run ? p->run - in : 0;
}

uint64_t wfs_recipe_plain(const struct wfs_recipe *recipe, uint64_t off,
			  struct wfs_region **ret_region, uint64_t *ret_off)
{
	uint64_t next = 0;

	for (uint32_t i = recipe->ends ? wfs_recipe_first(recipe, off) : 0;
	     i < recipe->n && off < recipe->size; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];
		uint64_t at = recipe->ends ? p->at : next, len;

		next += p->run * p->count;
		if (at > off)
			break;
		if (p->kind != WFS_PIECE_REGION || p->cast ||
		    (recipe->ends && p->nloops))
			continue;
		len = plain_of(p, at,
			       recipe->ends && p->step ? p->step : p->run, off,
			       ret_off);
		*ret_region = p->region;
		if (len)
			return len;
	}
	return 0;
}
