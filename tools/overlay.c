/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See overlay.h.
 */
#include "tools/overlay.h"

#include <sys/vfs.h>

#define OVERLAYFS_MAGIC 0x794c7630

static bool is_on(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 &&
	       (unsigned long)fs.f_type == OVERLAYFS_MAGIC;
}

bool wfs_overlay_any(const struct wfs_options *options)
{
	if (options->models_dir && is_on(options->models_dir))
		return true;
	for (size_t i = 0; i < options->model_count; i++) {
		if (options->models[i].place == WFS_PLACE_DISK &&
		    is_on(options->models[i].dir))
			return true;
	}
	return false;
}
