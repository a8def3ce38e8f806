/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RDMA, as the way to seeds that transport/remote asks for: the two know nothing
 * of each other.
 */
#ifndef WFS_TOOLS_FABRIC_H
#define WFS_TOOLS_FABRIC_H

#include "transport/remote/remote.h"

extern const struct wfs_remote_fabric wfs_rdma_fabric;

#endif
