/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint that a user names on the command line, read without a mount.
 */
#ifndef WFS_TOOLS_OPEN_MODEL_H
#define WFS_TOOLS_OPEN_MODEL_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/model/model.h"

/*
 * `path` is absolute: the directory of a checkpoint, a repository of a hub
 * cache (the revision of refs/main), or one safetensors file.  The model is
 * called as the last component of the path is.  Errors as wfs_model_load and
 * wfs_file_source_open have them.
 */
int wfs_open_model(const char *path, bool follow_links,
		   struct wfs_model **ret_model, struct wfs_err *err);

#endif
