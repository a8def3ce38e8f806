/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status of a mount, as its daemon tells it, for people.
 */
#ifndef WFS_TOOLS_STATUS_SHOW_H
#define WFS_TOOLS_STATUS_SHOW_H

#include <stdint.h>
#include <stdio.h>
#include <yyjson.h>

/* One line: which mount it is, and since when. */
void wfs_status_head(FILE *out, yyjson_val *root);

/* All the rest.  `rate`: bytes a second that are copied now; NULL: unknown. */
void wfs_status_body(FILE *out, yyjson_val *root, const uint64_t *rate);

#endif
