/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the functions of libweightfs have in common: how they fail.
 */
#ifndef WFS_TOOLS_LIB_FACE_H
#define WFS_TOOLS_LIB_FACE_H

#include <stddef.h>

#include "core/base/err.h"

/*
 * An error to be filled, which weightfs_last_error tells of: the thread's own,
 * empty.  A function of the face begins with it.
 */
struct wfs_err *wfs_face_err(void);

/*
 * Copies what a caller knows of a struct that begins with its own size
 * (size_t) to the front of `ret`, of `ret_size` bytes.  `what` is it in
 * messages.  -EINVAL: NULL, or a size that this library does not know.
 */
int wfs_face_take(const void *given, const char *what, void *ret,
		  size_t ret_size, struct wfs_err *err);

#endif
