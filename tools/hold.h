/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount has fetched, as a seed's holder: from files of the arena, and
 * the headers that a source keeps in memory.
 */
#ifndef WFS_TOOLS_HOLD_H
#define WFS_TOOLS_HOLD_H

#include "core/store/store.h"
#include "transport/seed/stock.h"

/* The store `passes_on` and outlives whoever holds. */
struct wfs_holder wfs_holder_of(struct wfs_store *store);

#endif
