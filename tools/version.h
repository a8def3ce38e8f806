/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of libraries, for those who must not know their headers.
 */
#ifndef WFS_TOOLS_VERSION_H
#define WFS_TOOLS_VERSION_H

/* The release of libfuse that is linked in: "3.17.2". */
const char *wfs_version_fuse(void);

#endif
