/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See gpus.h.
 */
#include "transport/cuda/gpus.h"

#include "core/base/mem.h"
#include "transport/cuda/cuda.h"

int wfs_gpus_list(struct wfs_gpus *ret_gpus, struct wfs_err *err)
{
	struct wfs_gpus gpus = { 0 };
	const struct wfs_cuda *cuda;
	int count;
	int rc = wfs_cuda_load(&cuda, err);

	if (!rc)
		rc = wfs_cuda_count(cuda, &count, err);
	if (rc)
		return rc;
	gpus.count = (size_t)count;
	gpus.rows = wfs_calloc(gpus.count, sizeof(*gpus.rows));
	for (int i = 0; i < count; i++) {
		struct wfs_gpu *gpu = &gpus.rows[i];

		wfs_cuda_call(cuda, cudaDeviceGetPCIBusId, gpu->bus,
			      sizeof(gpu->bus), i);
		if (cuda->vmm)
			wfs_cuda_call(cuda, cuDeviceGetName, gpu->name,
				      sizeof(gpu->name), i);
	}
	wfs_cuda_call(cuda, cudaRuntimeGetVersion, &gpus.runtime);
	wfs_cuda_call(cuda, cudaDriverGetVersion, &gpus.driver);
	*ret_gpus = gpus;
	return 0;
}
