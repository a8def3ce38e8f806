/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reader.h.  Each copy has a slot: a stream on some device, and pinned
 * memory, which the kernel then writes to the file.
 */
#include "transport/cuda/reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/cuda/cuda.h"

#define SLOTS	  4
#define PITCH_MAX 0x7fffffff /* what every device can do */

struct slot {
	bool busy;
	int device; /* of the stream, where there is one */
	cu_stream stream;
	void *bytes;
};

struct wfs_gpu_reader {
	const struct wfs_cuda *cuda;
	size_t room;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct slot slots[SLOTS];
};

/* What a thread of somebody else's had set. */
struct settings {
	cu_mode mode;
	int device;
};

int wfs_gpu_reader_open(size_t room, struct wfs_gpu_reader **ret_reader,
			struct wfs_err *err)
{
	struct wfs_gpu_reader *reader;
	const struct wfs_cuda *cuda;
	int count, rc = wfs_cuda_load(&cuda, err);

	if (!rc)
		rc = wfs_cuda_count(cuda, &count, err);
	if (rc)
		return rc;
	reader = wfs_calloc(1, sizeof(*reader));
	reader->cuda = cuda;
	reader->room = room;
	pthread_mutex_init(&reader->lock, NULL);
	pthread_cond_init(&reader->freed, NULL);
	*ret_reader = reader;
	return 0;
}

static void end_stream(const struct wfs_gpu_reader *reader, struct slot *slot)
{
	if (slot->stream)
		wfs_cuda_call(reader->cuda, cudaStreamDestroy, slot->stream);
	slot->stream = NULL;
}

void wfs_gpu_reader_close(struct wfs_gpu_reader *reader)
{
	if (!reader)
		return;
	for (int i = 0; i < SLOTS; i++) {
		end_stream(reader, &reader->slots[i]);
		if (reader->slots[i].bytes)
			wfs_cuda_call(reader->cuda, cudaFreeHost,
				      reader->slots[i].bytes);
	}
	pthread_cond_destroy(&reader->freed);
	pthread_mutex_destroy(&reader->lock);
	free(reader);
}

/* One that was on this device before, if there is. */
static struct slot *get_slot(struct wfs_gpu_reader *reader, int device)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&reader->lock);
	while (!slot) {
		for (int i = 0; i < SLOTS; i++) {
			struct slot *one = &reader->slots[i];

			if (one->busy)
				continue;
			if (!slot || (one->stream && one->device == device))
				slot = one;
		}
		if (!slot)
			pthread_cond_wait(&reader->freed, &reader->lock);
	}
	slot->busy = true;
	pthread_mutex_unlock(&reader->lock);
	return slot;
}

static void put_slot(struct wfs_gpu_reader *reader, struct slot *slot)
{
	pthread_mutex_lock(&reader->lock);
	slot->busy = false;
	pthread_cond_signal(&reader->freed);
	pthread_mutex_unlock(&reader->lock);
}

/*
 * A graph that another thread captures must not fail because memory is pinned
 * here meanwhile.
 */
static unsigned set(const struct wfs_cuda *cuda, int device,
		    struct settings *ret_before)
{
	struct settings before = { .mode = WFS_CU_CAPTURE_RELAXED };
	unsigned code = wfs_cuda_call(cuda, cudaThreadExchangeStreamCaptureMode,
				      &before.mode);

	if (code)
		return code;
	code = wfs_cuda_call(cuda, cudaGetDevice, &before.device);
	if (!code)
		code = wfs_cuda_call(cuda, cudaSetDevice, device);
	if (code)
		wfs_cuda_call(cuda, cudaThreadExchangeStreamCaptureMode,
			      &before.mode);
	*ret_before = before;
	return code;
}

static void set_back(const struct wfs_cuda *cuda, struct settings *before)
{
	wfs_cuda_call(cuda, cudaSetDevice, before->device);
	wfs_cuda_call(cuda, cudaThreadExchangeStreamCaptureMode, &before->mode);
}

/* With the device set. */
static unsigned prepare(const struct wfs_gpu_reader *reader, struct slot *slot,
			int device)
{
	const struct wfs_cuda *cuda = reader->cuda;
	unsigned code = WFS_CU_OK;
	int least, greatest;

	if (slot->device != device)
		end_stream(reader, slot);
	if (!slot->stream)
		code = wfs_cuda_call(cuda, cudaDeviceGetStreamPriorityRange,
				     &least, &greatest);
	if (!slot->stream && !code)
		code = wfs_cuda_call(cuda, cudaStreamCreateWithPriority,
				     &slot->stream, WFS_CU_STREAM_NON_BLOCKING,
				     least);
	slot->device = device;
	if (!slot->bytes && !code)
		code = wfs_cuda_call(cuda, cudaHostAlloc, &slot->bytes,
				     reader->room, 0);
	return code;
}

/* How many of the first pieces are rows of one pitch. */
static int rows_of(const struct iovec *pieces, int n, size_t *ret_pitch)
{
	uintptr_t first = (uintptr_t)pieces[0].iov_base, pitch;
	int rows = 1;

	if (n < 2 || (uintptr_t)pieces[1].iov_base < first)
		return 1;
	pitch = (uintptr_t)pieces[1].iov_base - first;
	if (pitch < pieces[0].iov_len || pitch > PITCH_MAX)
		return 1;
	while (rows < n && pieces[rows].iov_len == pieces[0].iov_len &&
	       (uintptr_t)pieces[rows].iov_base ==
		       first + (uintptr_t)rows * pitch)
		rows++;
	*ret_pitch = pitch;
	return rows;
}

/* With the device set. */
static unsigned copy(const struct wfs_cuda *cuda, const struct slot *slot,
		     const struct iovec *pieces, int n)
{
	char *to = slot->bytes;
	unsigned code = WFS_CU_OK, wait;
	int rows;

	for (int i = 0; i < n && !code; i += rows) {
		size_t pitch = 0, len = pieces[i].iov_len;

		rows = rows_of(&pieces[i], n - i, &pitch);
		if (rows > 1)
			code = wfs_cuda_call(cuda, cudaMemcpy2DAsync, to, len,
					     pieces[i].iov_base, pitch, len,
					     (size_t)rows,
					     WFS_CU_DEVICE_TO_HOST,
					     slot->stream);
		else
			code = wfs_cuda_call(cuda, cudaMemcpyAsync, to,
					     pieces[i].iov_base, len,
					     WFS_CU_DEVICE_TO_HOST,
					     slot->stream);
		to += len * (size_t)rows;
	}
	/* Also after a failure: nothing may come later. */
	wait = wfs_cuda_call(cuda, cudaStreamSynchronize, slot->stream);
	return code ? code : wait;
}

static int error_of(unsigned code)
{
	return wfs_cuda_errno(code, WFS_DEVICE_STAGE_COPY);
}

static int read_by(struct wfs_gpu_reader *reader, struct slot *slot, int device,
		   const struct iovec *pieces, int n)
{
	struct settings before;
	unsigned code = set(reader->cuda, device, &before);

	if (code)
		return error_of(code);
	code = prepare(reader, slot, device);
	if (!code)
		code = copy(reader->cuda, slot, pieces, n);
	set_back(reader->cuda, &before);
	return error_of(code);
}

/* Which GPU has it?  Not a word of a failure: it may be anything. */
static int find_device(const struct wfs_cuda *cuda, const void *at,
		       int *ret_device)
{
	cu_pointer pointer = { 0 };

	if (cuda->cudaPointerGetAttributes(&pointer, at) != WFS_CU_OK) {
		cuda->cudaGetLastError();
		return -EFAULT;
	}
	if (pointer.type != WFS_CU_POINTER_DEVICE &&
	    pointer.type != WFS_CU_POINTER_MANAGED)
		return -EFAULT;
	*ret_device = pointer.device;
	return 0;
}

int wfs_gpu_reader_read(struct wfs_gpu_reader *reader,
			const struct iovec *pieces, int n, int fd, uint64_t off)
{
	struct slot *slot;
	size_t len = 0;
	int device = 0, rc = 0;

	for (int i = 0; i < n; i++) {
		if (pieces[i].iov_len > reader->room - len)
			return -EINVAL;
		len += pieces[i].iov_len;
	}
	if (!len)
		return 0;
	rc = find_device(reader->cuda, pieces[0].iov_base, &device);
	if (rc)
		return rc;
	slot = get_slot(reader, device);
	rc = read_by(reader, slot, device, pieces, n);
	if (!rc)
		rc = wfs_pwrite_all(fd, slot->bytes, len, off);
	put_slot(reader, slot);
	return rc;
}
