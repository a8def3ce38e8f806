/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What names this host, and this process among all nodes.
 */
#ifndef WFS_CORE_BASE_IDS_H
#define WFS_CORE_BASE_IDS_H

#define WFS_BOOT_ID_BYTES 40 /* with the NUL */
#define WFS_NODE_ID_BYTES 33 /* 32 hex digits and the NUL */

/*
 * The running kernel's: the same in all containers of this host, until it is
 * started anew.  A UUID as text, "" when it cannot be read.
 */
void wfs_boot_id_read(char ret_text[WFS_BOOT_ID_BYTES]);

/*
 * This process's: random, made when first asked for, so not before a fork.
 * "" when there is no randomness.
 */
const char *wfs_node_id(void);
/* In a child after a fork, where there is one thread: it is another node. */
void wfs_node_id_renew(void);

#endif
