/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the memory cgroups that we are in leave us, and the machine.
 *
 * Reads files below `root`, which is "" but in tests.  Version 1 and 2 may
 * both be mounted; a container may show its own cgroup as the root of the
 * mount, or name a path that is not there.
 */
#ifndef WFS_CORE_STORE_CGROUP_H
#define WFS_CORE_STORE_CGROUP_H

#include <stdint.h>

#include "core/store/budget.h"

/*
 * Our cgroups of both versions and all their ancestors that can be seen.
 * Returns how many; *ret_groups and *ret_self (the text of
 * /proc/self/cgroup; NULL if there is none) are the caller's.
 */
unsigned wfs_cgroup_find(const char *root, struct wfs_cgroup **ret_groups,
			 char **ret_self);
void wfs_cgroup_free(struct wfs_cgroup *groups, unsigned n);

/* Its limit in bytes; UINT64_MAX for none. */
uint64_t wfs_cgroup_limit(const struct wfs_cgroup *group);

/* Bytes that may still be charged to it; UINT64_MAX for no limit. */
uint64_t wfs_cgroup_room(const struct wfs_cgroup *group);

/* From /proc/meminfo, in bytes; UINT64_MAX where it does not say. */
uint64_t wfs_meminfo(const char *root, const char *key);

#endif
