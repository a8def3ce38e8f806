/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on GPUs, which nobody needs: without one, readers get their bytes
 * in the memory of the host.
 */
#include "core/base/mem.h"
#include "tools/doctor.h"
#include "transport/cuda/gpus.h"

static int major_of(int version)
{
	return version / 1000;
}

static int minor_of(int version)
{
	return version % 1000 / 10;
}

void wfs_doctor_cuda(struct wfs_findings *found)
{
	struct wfs_err err = { 0 };
	struct wfs_gpus gpus;

	if (wfs_gpus_list(&gpus, &err)) {
		wfs_findings_add(found, "gpu", WFS_LEVEL_OK, NULL,
				 "%s: bytes go to the host's memory alone",
				 err.text);
		return;
	}
	for (size_t i = 0; i < gpus.count; i++)
		wfs_findings_add(found, "gpu", WFS_LEVEL_OK, NULL,
				 "'%s' at %s, CUDA %d.%d with a driver of "
				 "%d.%d",
				 gpus.rows[i].name, gpus.rows[i].bus,
				 major_of(gpus.runtime), minor_of(gpus.runtime),
				 major_of(gpus.driver), minor_of(gpus.driver));
	free(gpus.rows);
}
