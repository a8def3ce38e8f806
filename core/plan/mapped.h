/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs copied out of a mapping of their file.
 */
#ifndef WFS_CORE_PLAN_MAPPED_H
#define WFS_CORE_PLAN_MAPPED_H

#include "core/plan/nest.h"

/*
 * Copies every run of `nest` to `to` + `at` + steps; counts as read at the
 * source what it copied.  0; -ENOTSUP: these runs, or this file, are better
 * read; -EIO: a page could not be had, and why is for who reads it to find
 * out.  Some runs may have been copied then.
 */
int wfs_gather_mapped(struct wfs_region *region, const struct wfs_nest *nest,
		      char *to);

#endif
