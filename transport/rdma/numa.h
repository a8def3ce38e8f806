/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices are near to the memory that this process gets.
 */
#ifndef WFS_TRANSPORT_RDMA_NUMA_H
#define WFS_TRANSPORT_RDMA_NUMA_H

#include <stdbool.h>

/* The NUMA node of an RDMA device; -1: it has none, or nobody knows. */
int wfs_numa_of_device(const char *device);

/*
 * May memory of this thread come from that node, as numactl(8), a cpuset or a
 * control group has it?  True for -1.
 */
bool wfs_numa_is_ours(int node);

#endif
