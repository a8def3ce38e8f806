/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPUs that a mount serves.
 */
#ifndef WFS_TOOLS_SERVE_GPUS_H
#define WFS_TOOLS_SERVE_GPUS_H

#include "core/device.h"
#include "tools/options.h"

/*
 * *ret_dev is the caller's; NULL: none are served, since none are wanted, or
 * this machine has no driver for any.  -ENXIO with a sentence when they are
 * wanted and there are none.
 */
int wfs_serve_gpus(enum wfs_want want, struct wfs_device **ret_dev,
		   struct wfs_err *err);

#endif
