/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does each byte of a stretch of a file belong to exactly one piece?
 */
#ifndef WFS_CORE_PLAN_COVER_H
#define WFS_CORE_PLAN_COVER_H

#include "core/plan/nest.h"

/*
 * Do the pieces, whose bytes are `len` together, fill [at, at + len)?  They
 * lie there, and none overlaps itself.  The cost is that of their loops, not
 * of their runs.  Yes is wrong with a chance of less than one in 2^30.
 */
bool wfs_pieces_fill(const struct wfs_piece *pieces, uint32_t n, uint64_t at,
		     uint64_t len);

#endif
