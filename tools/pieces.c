/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of a recipe, readable: which bytes come from where.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/base/text.h"
#include "tools/grid.h"
#include "tools/pieces.h"

static uint64_t piece_bytes(const struct wfs_piece *p)
{
	uint64_t bytes = p->run * p->count;

	for (unsigned i = 0; i < p->nloops; i++)
		bytes *= p->loops[i].count;
	return bytes;
}

/* "64 runs of 2048, every 8192, to every 4096; 8 times, every 65536": */
static void add_runs(struct wfs_text *text, const struct wfs_piece *p)
{
	if (p->count > 1)
		wfs_text_add(text, "%" PRIu64 " runs of %" PRIu64, p->count,
			     p->run);
	if (p->count > 1 && p->kind == WFS_PIECE_REGION)
		wfs_text_add(text, ", every %" PRIu64, p->stride);
	if (p->count > 1 && p->step && p->step != p->run)
		wfs_text_add(text, ", to every %" PRIu64, p->step);
	/* From the inside out. */
	for (unsigned i = p->nloops; i > 0; i--)
		wfs_text_add(text,
			     "%s%" PRIu64 " times, every %" PRIu64
			     ", to every %" PRIu64,
			     text->len ? "; " : "", p->loops[i - 1].count,
			     p->loops[i - 1].stride, p->loops[i - 1].step);
	if (p->kind == WFS_PIECE_REGION && p->cast != WFS_CAST_NONE)
		wfs_text_add(text, "%selements of %u bytes cast to %u",
			     text->len ? "; " : "",
			     wfs_cast_from((enum wfs_cast)p->cast),
			     wfs_cast_to((enum wfs_cast)p->cast));
}

static void add_pattern(struct wfs_text *text, const struct wfs_piece *p)
{
	if (p->kind == WFS_PIECE_ZERO)
		wfs_text_add(text, "00");
	for (unsigned i = 0; p->kind == WFS_PIECE_CONST && i < p->pattern_len;
	     i++)
		wfs_text_add(text, "%02x", p->pattern[i]);
}

static void add_piece(struct wfs_grid *grid, const struct wfs_piece *p,
		      uint64_t at)
{
	struct wfs_text pattern = { 0 }, runs = { 0 };

	wfs_grid_add(grid, "%" PRIu64, at);
	wfs_grid_add(grid, "%" PRIu64, piece_bytes(p));
	add_pattern(&pattern, p);
	if (p->kind == WFS_PIECE_REGION) {
		wfs_grid_add(grid, "%s", p->region->path);
		wfs_grid_add(grid, "%" PRIu64, p->off);
	} else {
		wfs_grid_add(grid, "bytes %s", pattern.data);
		wfs_grid_add(grid, "%s", "");
	}
	add_runs(&runs, p);
	wfs_grid_add(grid, "%s", runs.data ? runs.data : "");
	free(pattern.data);
	free(runs.data);
}

void wfs_pieces_print(const struct wfs_recipe *recipe, const char *indent)
{
	static const char *const heads[] = { "TO", "BYTES", "FROM", "AT",
					     "HOW" };
	struct wfs_grid grid = { .columns = "rrlrl" };
	uint64_t at = 0;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		wfs_grid_add(&grid, "%s", heads[i]);
	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];

		add_piece(&grid, p, recipe->ends ? p->at : at);
		at += piece_bytes(p);
	}
	wfs_grid_finish(&grid, indent, stdout);
}

static void add_json_loops(struct wfs_text *t, const struct wfs_piece *p)
{
	if (!p->nloops)
		return;
	wfs_text_add(t, ", \"loops\": [");
	for (unsigned i = 0; i < p->nloops; i++)
		wfs_text_add(t,
			     "%s{\"count\": %" PRIu64 ", \"stride\": %" PRIu64
			     ", \"step\": %" PRIu64 "}",
			     i ? ", " : "", p->loops[i].count,
			     p->loops[i].stride, p->loops[i].step);
	wfs_text_add(t, "]");
}

static void add_json_piece(struct wfs_text *t, const struct wfs_piece *p,
			   uint64_t at)
{
	wfs_text_add(t,
		     "{\"at\": %" PRIu64 ", \"bytes\": %" PRIu64
		     ", \"run\": %" PRIu64 ", \"count\": %" PRIu64
		     ", \"step\": %" PRIu64,
		     at, piece_bytes(p), p->run, p->count,
		     p->step ? p->step : p->run);
	if (p->kind == WFS_PIECE_REGION) {
		wfs_text_add(t, ", \"file\": ");
		wfs_text_add_json(t, p->region->path);
		wfs_text_add(t,
			     ", \"offset\": %" PRIu64 ", \"stride\": %" PRIu64,
			     p->off, p->stride);
	} else {
		wfs_text_add(t, ", \"pattern\": \"");
		add_pattern(t, p);
		wfs_text_add(t, "\"");
	}
	add_json_loops(t, p);
	if (p->kind == WFS_PIECE_REGION && p->cast != WFS_CAST_NONE)
		wfs_text_add(t, ", \"cast_bytes\": [%u, %u]",
			     wfs_cast_from((enum wfs_cast)p->cast),
			     wfs_cast_to((enum wfs_cast)p->cast));
	wfs_text_add(t, "}");
}

void wfs_pieces_add_json(struct wfs_text *text, const struct wfs_recipe *recipe)
{
	uint64_t at = 0;

	wfs_text_add(text, "[");
	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *p = &recipe->pieces[i];

		wfs_text_add(text, "%s", i ? ", " : "");
		add_json_piece(text, p, recipe->ends ? p->at : at);
		at += piece_bytes(p);
	}
	wfs_text_add(text, "]");
}
