/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files that read a seed's answer to /v1/rdma share.
 */
#ifndef WFS_TRANSPORT_RDMA_TABLE_H
#define WFS_TRANSPORT_RDMA_TABLE_H

#include "core/base/json.h"
#include "transport/rdma/peer.h"

/* All -EINVAL where it is malformed. */

/* The bytes that a member says in hexadecimal digits. */
int wfs_rdma_table_hex(yyjson_val *object, const char *key, void *bytes,
		       size_t len);
/* The key of each rail. */
int wfs_rdma_table_keys(yyjson_val *object, size_t rails, uint32_t *ret_rkeys);
/* What was lent, and what lies there; the seed need not say anything of it. */
int wfs_rdma_table_take_live(struct wfs_rdma_table *table, yyjson_val *top);

#endif
