/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of a recipe, for people and for machines.
 */
#ifndef WFS_TOOLS_PIECES_H
#define WFS_TOOLS_PIECES_H

#include "core/plan/recipe.h"

/* A table on stdout, every line after `indent`. */
void wfs_pieces_print(const struct wfs_recipe *recipe, const char *indent);

/* A JSON array. */
struct wfs_text;
void wfs_pieces_add_json(struct wfs_text *text,
			 const struct wfs_recipe *recipe);

#endif
