/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the functions of libweightfs have in common: how they fail.
 */
#ifndef WFS_TOOLS_LIB_FACE_H
#define WFS_TOOLS_LIB_FACE_H

#include "core/base/err.h"

/*
 * An error to be filled, which weightfs_last_error tells of: the thread's own,
 * empty.  A function of the face begins with it.
 */
struct wfs_err *wfs_face_err(void);

#endif
