/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many threads of this process can run at once.
 */
#ifndef WFS_CORE_BASE_CPUS_H
#define WFS_CORE_BASE_CPUS_H

#include <sched.h>

/* CPUs that the calling thread may use; 1 where nobody can say. */
static inline unsigned wfs_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ?
		       1 :
		       (unsigned)CPU_COUNT(&set);
}

#endif
