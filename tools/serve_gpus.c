/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See serve_gpus.h.
 */
#include "tools/serve_gpus.h"

#include <unistd.h>

#include "core/base/log.h"
#include "transport/cuda/device.h"

#define DRIVER	      "/dev/nvidiactl"
#define KEEP_NS	      10000000000ull /* for a reader that is started anew */
#define KEEP_FILES_NS 1000000000ull  /* for fills that follow each other */

int wfs_serve_gpus(enum wfs_want want, struct wfs_device **ret_dev,
		   struct wfs_err *err)
{
	const struct wfs_cuda_config config = {
		.keep_ns = KEEP_NS,
		.keep_files_ns = KEEP_FILES_NS,
	};
	struct wfs_device *dev = NULL;
	int rc;

	*ret_dev = NULL;
	if (want == WFS_WANT_OFF ||
	    (want == WFS_WANT_AUTO && access(DRIVER, F_OK) != 0))
		return 0;
	rc = wfs_cuda_device_open(&config, &dev, err);
	if (!rc && want == WFS_WANT_ON)
		rc = wfs_cuda_device_look(dev, err);
	if (!rc) {
		*ret_dev = dev;
		return 0;
	}
	wfs_device_close(dev);
	if (want == WFS_WANT_ON)
		return wfs_err_prefix(err, "option 'gpu' is on");
	wfs_warn("no GPU is served: %s", err->text);
	return 0;
}
