/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checkpoint lacks that was put together from an engine's dump, shown.
 */
#ifndef WFS_TOOLS_LOSSES_H
#define WFS_TOOLS_LOSSES_H

#include "core/base/text.h"
#include "core/plan/layout.h"

/* For people, a line for each kind; nothing for another layout. */
void wfs_losses_print(const struct wfs_model *layout);

/* Adds ", "checkpoint": {…}", each tensor by name; nothing for another. */
void wfs_losses_add_json(struct wfs_text *t, const struct wfs_model *layout);

#endif
