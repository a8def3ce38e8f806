/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon asks of the system for its own process.
 */
#ifndef WFS_TOOLS_PROCESS_H
#define WFS_TOOLS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Raises the limit of open files as far as it goes (every file of every
 * checkpoint stays open), makes the kernel's killer look elsewhere (killing
 * us frees nothing), keeps malloc to few arenas, ignores SIGPIPE and SIGIO.
 * What is not permitted stays as it is.
 */
void wfs_process_setup(void);

/*
 * Has this process CAP_SYS_ADMIN, which passthrough needs, on the machine and
 * not only in a user namespace?
 */
bool wfs_process_is_admin(void);

/* Descriptors that wfs_process_setup can have. */
uint64_t wfs_process_max_files(void);

#endif
