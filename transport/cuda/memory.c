/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory: of readers, imported, and of our own, to be lent.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "transport/cuda/work.h"

/* What cudaMalloc packs small allocations into, and a handle opens whole. */
#define BLOCK (2ull << 20)

static cu_prop own_prop(const struct wfs_gpu_work *work)
{
	return (cu_prop){ .type = WFS_CU_PINNED,
			  .handle_types = WFS_CU_POSIX_FD,
			  .location = { .type = WFS_CU_ON_DEVICE,
					.id = work->device } };
}

/*
 * Gives an allocation addresses.  The code of the first call that fails;
 * *ret_beyond: it has not so many bytes.
 */
static unsigned map_alloc(struct wfs_gpu_work *work,
			  struct wfs_gpu_memory *memory, bool *ret_beyond)
{
	const struct wfs_cuda *cuda = work->cuda;
	const cu_access access = { .location = { .type = WFS_CU_ON_DEVICE,
						 .id = work->device },
				   .flags = WFS_CU_READ_WRITE };
	unsigned code = wfs_cuda_call(cuda, cuMemAddressReserve, &memory->ptr,
				      memory->bytes, 0, 0, 0);

	if (code)
		return code;
	code = wfs_cuda_call(cuda, cuMemMap, memory->ptr, memory->bytes, 0,
			     memory->alloc, 0);
	*ret_beyond = code == WFS_CU_INVALID_VALUE;
	if (!code) {
		code = wfs_cuda_call(cuda, cuMemSetAccess, memory->ptr,
				     memory->bytes, &access, 1);
		if (code)
			wfs_cuda_call(cuda, cuMemUnmap, memory->ptr,
				      memory->bytes);
	}
	if (code)
		wfs_cuda_call(cuda, cuMemAddressFree, memory->ptr,
			      memory->bytes);
	return code;
}

static void unmap_alloc(struct wfs_gpu_work *work,
			struct wfs_gpu_memory *memory)
{
	const struct wfs_cuda *cuda = work->cuda;

	wfs_cuda_call(cuda, cuMemUnmap, memory->ptr, memory->bytes);
	wfs_cuda_call(cuda, cuMemAddressFree, memory->ptr, memory->bytes);
	wfs_cuda_call(cuda, cuMemRelease, memory->alloc);
}

static int granularity(struct wfs_gpu_work *work, size_t *ret)
{
	const cu_prop prop = own_prop(work);
	unsigned code = wfs_cuda_call(work->cuda, cuMemGetAllocationGranularity,
				      ret, &prop, WFS_CU_LEAST);

	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
				   "the size of pages") :
		      0;
}

static int refuse_beyond(struct wfs_gpu_work *work)
{
	return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_MAP, -ERANGE,
			      "the allocation has not so many bytes");
}

static int import_fd(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask, int fd,
		     struct wfs_gpu_memory *memory)
{
	bool beyond = false;
	size_t grain = 0;
	unsigned code;
	int rc;

	if (!work->cuda->vmm)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_MAP, -EOPNOTSUPP,
				      "the driver has no memory by "
				      "descriptors");
	rc = granularity(work, &grain);
	if (rc)
		return rc;
	if (fd < 0 || ask->memory_bytes % grain)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_MAP, -EINVAL,
				      "memory by a descriptor is whole pages "
				      "of the device");
	code = wfs_cuda_call(work->cuda, cuMemImportFromShareableHandle,
			     &memory->alloc, (void *)(intptr_t)fd,
			     WFS_CU_POSIX_FD);
	if (!code) {
		code = map_alloc(work, memory, &beyond);
		if (code)
			wfs_cuda_call(work->cuda, cuMemRelease, memory->alloc);
	}
	if (beyond)
		return refuse_beyond(work);
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_MAP, code,
				   "the reader's descriptor") :
		      0;
}

static int import_handle(struct wfs_gpu_work *work,
			 const struct wfs_gpu_request *ask,
			 struct wfs_gpu_memory *memory)
{
	cu_mem_handle handle;
	void *ptr = NULL;
	unsigned code;

	memcpy(&handle, ask->handle, sizeof(handle));
	code = wfs_cuda_call(work->cuda, cudaIpcOpenMemHandle, &ptr, handle,
			     WFS_CU_LAZY_PEER_ACCESS);
	if (code)
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_MAP, code,
				    "the reader's handle");
	memory->ptr = (uint64_t)(uintptr_t)ptr;
	return 0;
}

/* The pool goes with the pointer: what else is in it was not asked for. */
static int import_pooled(struct wfs_gpu_work *work,
			 const struct wfs_gpu_request *ask, int fd,
			 struct wfs_gpu_memory *memory)
{
	const struct wfs_cuda *cuda = work->cuda;
	cu_pool_ptr data;
	void *ptr = NULL;
	unsigned code;

	memcpy(&data, ask->handle, sizeof(data));
	code = wfs_cuda_call(cuda, cudaMemPoolImportFromShareableHandle,
			     &memory->pool, (void *)(intptr_t)fd,
			     WFS_CU_POSIX_FD, 0);
	if (code)
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_MAP, code,
				    "the reader's pool");
	code = wfs_cuda_call(cuda, cudaMemPoolImportPointer, &ptr, memory->pool,
			     &data);
	if (code) {
		wfs_cuda_call(cuda, cudaMemPoolDestroy, memory->pool);
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_MAP, code,
				    "the reader's pointer into its pool");
	}
	memory->ptr = (uint64_t)(uintptr_t)ptr;
	return 0;
}

/*
 * What a handle opens is as large as it is, whatever was said: to copy beyond
 * it would end the helper, and all that it does for others.  A driver that
 * cannot tell leaves it at that.
 */
static int check_extent(struct wfs_gpu_work *work,
			struct wfs_gpu_memory *memory)
{
	cu_devptr base = 0;
	size_t size = 0;

	if (!work->cuda->cuMemGetAddressRange ||
	    wfs_cuda_call(work->cuda, cuMemGetAddressRange, &base, &size,
			  memory->ptr) ||
	    memory->ptr < base)
		return 0;
	if (memory->ptr - base <= size &&
	    memory->bytes <= size - (memory->ptr - base))
		return 0;
	wfs_gpu_let_go(work, memory);
	return refuse_beyond(work);
}

int wfs_gpu_import(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		   int memory_fd, struct wfs_gpu_memory *ret_memory)
{
	struct wfs_gpu_memory memory = { .kind = ask->memory,
					 .bytes = ask->memory_bytes };
	int rc = -EINVAL;

	switch ((enum wfs_device_memory)ask->memory) {
	case WFS_DEVICE_CUDA_IPC:
		rc = import_handle(work, ask, &memory);
		break;
	case WFS_DEVICE_VMM_FD:
		rc = import_fd(work, ask, memory_fd, &memory);
		break;
	case WFS_DEVICE_POOL_FD:
		rc = import_pooled(work, ask, memory_fd, &memory);
		break;
	}
	if (!rc && memory.kind != WFS_DEVICE_VMM_FD)
		rc = check_extent(work, &memory);
	if (!rc)
		*ret_memory = memory;
	return rc;
}

void wfs_gpu_let_go(struct wfs_gpu_work *work, struct wfs_gpu_memory *memory)
{
	void *ptr = (void *)(uintptr_t)memory->ptr;

	if (memory->kind == WFS_DEVICE_VMM_FD)
		unmap_alloc(work, memory);
	else if (memory->kind == WFS_DEVICE_POOL_FD || memory->own)
		wfs_cuda_call(work->cuda, cudaFree, ptr);
	else if (memory->kind)
		wfs_cuda_call(work->cuda, cudaIpcCloseMemHandle, ptr);
	if (memory->kind == WFS_DEVICE_POOL_FD)
		wfs_cuda_call(work->cuda, cudaMemPoolDestroy, memory->pool);
	memory->kind = 0;
}

/* Both take whole pages, and set how many bytes that came to. */
static int allocate_fd(struct wfs_gpu_work *work, struct wfs_gpu_memory *memory)
{
	const cu_prop prop = own_prop(work);
	bool beyond = false;
	size_t grain = 0;
	unsigned code;
	int rc = granularity(work, &grain);

	if (rc)
		return rc;
	memory->bytes = (memory->bytes + grain - 1) / grain * grain;
	code = wfs_cuda_call(work->cuda, cuMemCreate, &memory->alloc,
			     memory->bytes, &prop, 0);
	if (!code) {
		code = map_alloc(work, memory, &beyond);
		if (code)
			wfs_cuda_call(work->cuda, cuMemRelease, memory->alloc);
	}
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
				   "memory to be lent") :
		      0;
}

static int allocate_block(struct wfs_gpu_work *work,
			  struct wfs_gpu_memory *memory)
{
	void *ptr = NULL;
	unsigned code;

	memory->bytes = (memory->bytes + BLOCK - 1) / BLOCK * BLOCK;
	code = wfs_cuda_call(work->cuda, cudaMalloc, &ptr, memory->bytes);
	if (code)
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
				    "memory to be lent");
	memory->ptr = (uint64_t)(uintptr_t)ptr;
	return 0;
}

int wfs_gpu_allocate(struct wfs_gpu_work *work, uint32_t kind, uint64_t bytes,
		     struct wfs_gpu_memory *ret_memory)
{
	bool vmm = work->cuda->vmm && kind != WFS_DEVICE_CUDA_IPC;
	struct wfs_gpu_memory memory = {
		.kind = vmm ? WFS_DEVICE_VMM_FD : WFS_DEVICE_CUDA_IPC,
		.bytes = bytes,
		.own = true,
	};
	int rc;

	if (kind && kind != memory.kind)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE,
				      -EOPNOTSUPP,
				      "the driver has no memory by "
				      "descriptors");
	rc = vmm ? allocate_fd(work, &memory) : allocate_block(work, &memory);
	if (!rc)
		*ret_memory = memory;
	return rc;
}
