/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A single safetensors file as if it were a checkpoint of its own, whatever
 * it is called: for looking into one part of something larger.
 */
#ifndef WFS_TOOLS_ONE_FILE_H
#define WFS_TOOLS_ONE_FILE_H

#include "core/base/err.h"
#include "core/source.h"

/* `path` is absolute.  -ENOENT, -EACCES … with a sentence. */
int wfs_one_file_open(const char *path, struct wfs_source **ret_source,
		      struct wfs_err *err);

#endif
