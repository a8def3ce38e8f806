/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See work.h: the device, fills and copies.
 */
#include "transport/cuda/work.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"

#define EVENT_LOOKS 4 /* at an event, which may be about to happen */

int wfs_gpu_refuse(struct wfs_gpu_work *work, enum wfs_device_stage stage,
		   int rc, const char *what)
{
	/* The first is the cause, and what follows from it is not. */
	if (work->answer->status)
		return work->answer->status;
	work->answer->status = rc;
	work->answer->stage = stage;
	wfs_text_escape(what, work->answer->text, sizeof(work->answer->text));
	return rc;
}

int wfs_gpu_fail(struct wfs_gpu_work *work, enum wfs_device_stage stage,
		 unsigned code, const char *what)
{
	struct wfs_gpu_answer *answer = work->answer;

	answer->ends |= wfs_cuda_sticks(code);
	if (answer->status)
		return answer->status;
	answer->status = wfs_cuda_errno(code, stage);
	answer->stage = stage;
	answer->cuda_err = code;
	snprintf(answer->text, sizeof(answer->text), "%s: CUDA error %u, %s",
		 what, code, work->cuda->cudaGetErrorString(code));
	return answer->status;
}

static int load(struct wfs_gpu_work *work, const struct wfs_cuda **ret_cuda,
		int *ret_count)
{
	struct wfs_err err = { 0 };
	int rc = wfs_cuda_load(ret_cuda, &err);

	if (!rc)
		rc = wfs_cuda_count(*ret_cuda, ret_count, &err);
	return rc ? wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, rc,
				   err.text) :
		    0;
}

int wfs_gpu_count(struct wfs_gpu_work *work)
{
	const struct wfs_cuda *cuda;
	int count = 0;
	int rc = load(work, &cuda, &count);

	work->answer->devices = (uint32_t)count;
	return rc;
}

/* UUIDs were put into the environment, which leaves one device or none. */
static unsigned find_device(const struct wfs_cuda *cuda,
			    const struct wfs_device_id *id, int *ret_device)
{
	char bus[32];

	*ret_device = 0;
	if (id->by != WFS_DEVICE_PCI)
		return WFS_CU_OK;
	snprintf(bus, sizeof(bus), "%04x:%02x:%02x.%x", id->domain, id->bus,
		 id->device, id->function);
	return wfs_cuda_call(cuda, cudaDeviceGetByPCIBusId, ret_device, bus);
}

int wfs_gpu_take(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask)
{
	const struct wfs_device_id *id = &ask->device;
	const struct wfs_cuda *cuda = NULL;
	int count, value = 0;
	unsigned code;
	int rc = load(work, &cuda, &count);

	if (rc == -ENXIO && id->by > WFS_DEVICE_PCI) {
		/* None is left, when only that one was to be seen. */
		work->answer->status = rc = -ENODEV;
		return rc;
	}
	if (rc)
		return rc;
	work->cuda = cuda;
	work->keep_ns = ask->keep_ns;
	code = find_device(cuda, id, &work->device);
	if (code)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, -ENODEV,
				      "there is no such GPU");
	code = wfs_cuda_call(cuda, cudaSetDevice, work->device);
	if (!code)
		code = wfs_gpu_ring_open(&work->ring, cuda, WFS_GPU_RING_SLOTS,
					 WFS_GPU_RING_BYTES);
	if (code)
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
				    "the device");
	if (!wfs_cuda_call(cuda, cudaDeviceGetAttribute, &value,
			   WFS_CU_ATTR_REGISTER_READ_ONLY, work->device))
		work->registers = value;
	if (!wfs_cuda_call(cuda, cudaDeviceGetAttribute, &value,
			   WFS_CU_ATTR_MAX_PITCH, work->device))
		work->pitch_max = (uint64_t)value;
	return 0;
}

/* Nothing that is no event of the reader's can be waited for. */
static int open_event(struct wfs_gpu_work *work, const uint8_t *ready,
		      cu_event *ret_event)
{
	cu_event_handle handle;
	unsigned code;

	memcpy(&handle, ready, sizeof(handle));
	code = wfs_cuda_call(work->cuda, cudaIpcOpenEventHandle, ret_event,
			     handle);
	if (code == WFS_CU_INVALID_VALUE || code == WFS_CU_INVALID_HANDLE) {
		work->answer->cuda_err = code;
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_MAP, -EINVAL,
				      "that is no event");
	}
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_MAP, code,
				   "the reader's event") :
		      0;
}

/*
 * Asked for, not queued on the stream: it may never come, and what is queued
 * can be neither taken back nor left behind.  Not for long, either: others are
 * waiting for us, and the daemon asks again.
 */
static int look_at(struct wfs_gpu_work *work, cu_event event)
{
	unsigned code = WFS_CU_NOT_READY;

	for (int i = 0; i < EVENT_LOOKS && code == WFS_CU_NOT_READY; i++) {
		code = work->cuda->cudaEventQuery(event);
		if (code == WFS_CU_NOT_READY)
			work->cuda->cudaGetLastError();
	}
	if (code == WFS_CU_NOT_READY)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_SYNC, -EAGAIN,
				      "the reader's event has not happened");
	wfs_cuda_said(work->cuda, "cudaEventQuery", code);
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_SYNC, code,
				   "the reader's event") :
		      0;
}

int wfs_gpu_is_ready(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask)
{
	cu_event event = NULL;
	int rc = 0;

	if (ask->has_ready)
		rc = open_event(work, ask->ready, &event);
	if (event) {
		rc = look_at(work, event);
		wfs_cuda_call(work->cuda, cudaEventDestroy, event);
	}
	return rc;
}

int wfs_gpu_fill(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		 int fd, int memory_fd)
{
	const struct wfs_gpu_file file = { fd, ask->file_bytes, ask->steady };
	struct wfs_gpu_map *map;
	int rc = wfs_gpu_is_ready(work, ask);

	if (!rc)
		rc = wfs_gpu_map_get(work, ask, memory_fd, &map);
	if (rc)
		return rc;
	rc = wfs_gpu_copy(work, &file, ask->segments, ask->segment_count,
			  map->memory.ptr);
	wfs_gpu_map_put(work, map);
	return rc;
}

static struct wfs_gpu_copy *find_copy(struct wfs_gpu_work *work, uint64_t id)
{
	for (size_t i = 0; i < WFS_GPU_COPIES; i++) {
		if (work->copies[i].id == id)
			return &work->copies[i];
	}
	return NULL;
}

/* All of the file, and nothing of anybody else's behind it. */
static int fill_copy(struct wfs_gpu_work *work,
		     const struct wfs_gpu_request *ask, int fd,
		     const struct wfs_gpu_memory *memory)
{
	const struct wfs_gpu_file file = { fd, ask->file_bytes, ask->steady };
	const struct wfs_device_segment whole = { .len = ask->file_bytes,
						  .count = 1 };
	uint64_t rest = memory->bytes - ask->file_bytes;
	unsigned code = WFS_CU_OK;

	if (rest)
		code = wfs_cuda_call(
			work->cuda, cudaMemsetAsync,
			(void *)(uintptr_t)(memory->ptr + ask->file_bytes), 0,
			rest, work->ring.stream);
	if (code)
		return wfs_gpu_fail(work, WFS_DEVICE_STAGE_COPY, code,
				    "the end of the memory");
	return wfs_gpu_copy(work, &file, &whole, 1, memory->ptr);
}

static int export_copy(struct wfs_gpu_work *work,
		       const struct wfs_gpu_memory *memory, int *ret_fd)
{
	cu_mem_handle handle = { 0 };
	unsigned code;

	if (memory->kind == WFS_DEVICE_VMM_FD)
		code = wfs_cuda_call(work->cuda, cuMemExportToShareableHandle,
				     ret_fd, memory->alloc, WFS_CU_POSIX_FD, 0);
	else
		code = wfs_cuda_call(work->cuda, cudaIpcGetMemHandle, &handle,
				     (void *)(uintptr_t)memory->ptr);
	memcpy(work->answer->handle, &handle, sizeof(handle));
	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_DEVICE, code,
				   "a handle to lend") :
		      0;
}

int wfs_gpu_make(struct wfs_gpu_work *work, const struct wfs_gpu_request *ask,
		 int fd, int *ret_fd)
{
	struct wfs_gpu_copy *copy = find_copy(work, 0);
	struct wfs_gpu_memory memory;
	int rc;

	if (!copy || !ask->copy)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, -EBUSY,
				      "no more tensors can be lent");
	rc = wfs_gpu_allocate(work, ask->memory, ask->file_bytes, &memory);
	if (rc)
		return rc;
	rc = fill_copy(work, ask, fd, &memory);
	if (!rc)
		rc = export_copy(work, &memory, ret_fd);
	if (rc) {
		wfs_gpu_let_go(work, &memory);
		return rc;
	}
	copy->id = ask->copy;
	copy->memory = memory;
	work->answer->memory = memory.kind;
	work->answer->memory_bytes = memory.bytes;
	return 0;
}

int wfs_gpu_unmake(struct wfs_gpu_work *work, uint64_t id)
{
	struct wfs_gpu_copy *copy = id ? find_copy(work, id) : NULL;

	if (!copy)
		return wfs_gpu_refuse(work, WFS_DEVICE_STAGE_DEVICE, -ENOENT,
				      "there is no such copy");
	wfs_gpu_let_go(work, &copy->memory);
	copy->id = 0;
	return 0;
}
