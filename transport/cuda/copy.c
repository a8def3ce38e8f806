/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a file to device memory.
 *
 * A file that is steady is mapped, registered for reading where the device can
 * do that, and copied by the device itself.  Everything else goes through a
 * ring of pinned buffers: read into one while the device takes the other.  Runs
 * at a stride are put side by side in a buffer and spread out by the device.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/mem.h"
#include "transport/cuda/work.h"

/* Registering pins page by page, which takes longer than to copy a little. */
#define REGISTER_LEAST (1u << 20)

struct job {
	struct wfs_gpu_work *work;
	const struct wfs_gpu_file *file;
	const char *mapped; /* all of the file; NULL: it is read */
	uint64_t to;
	cu_kind kind;
};

static void *device_ptr(uint64_t at)
{
	return (void *)(uintptr_t)at;
}

static bool is_dense(const struct wfs_device_segment *s, uint64_t stride)
{
	return s->count == 1 || stride == s->len;
}

/* `rows` runs of the device's from host memory, in one call if that can be. */
static unsigned queue_rows(const struct job *job,
			   const struct wfs_device_segment *s, const char *from,
			   uint64_t from_stride, uint64_t to, uint64_t rows)
{
	struct wfs_gpu_work *w = job->work;
	unsigned code = WFS_CU_OK;

	if (rows == 1 || (from_stride == s->len && s->dst_stride == s->len))
		return wfs_cuda_call(w->cuda, cudaMemcpyAsync, device_ptr(to),
				     from, s->len * rows, job->kind,
				     w->ring.stream);
	if (from_stride >= s->len && from_stride <= w->pitch_max &&
	    s->dst_stride <= w->pitch_max)
		return wfs_cuda_call(w->cuda, cudaMemcpy2DAsync, device_ptr(to),
				     s->dst_stride, from, from_stride, s->len,
				     rows, job->kind, w->ring.stream);
	for (uint64_t i = 0; i < rows && !code; i++)
		code = wfs_cuda_call(w->cuda, cudaMemcpyAsync,
				     device_ptr(to + i * s->dst_stride),
				     from + i * from_stride, s->len, job->kind,
				     w->ring.stream);
	return code;
}

static int read_bytes(const struct job *job, void *to, uint64_t off,
		      uint64_t len)
{
	ssize_t n;

	if (job->mapped) {
		memcpy(to, job->mapped + off, len);
		return 0;
	}
	n = wfs_pread_all(job->file->fd, to, len, off);
	if (n < 0)
		return wfs_gpu_refuse(job->work, WFS_DEVICE_STAGE_FETCH, -EIO,
				      "the file cannot be read");
	if ((uint64_t)n < len)
		return wfs_gpu_refuse(job->work, WFS_DEVICE_STAGE_FETCH,
				      -ESTALE, "the file became shorter");
	return 0;
}

/* A buffer that nothing is copied from any more; NULL after a failure. */
static struct wfs_gpu_slot *next_slot(struct wfs_gpu_work *work)
{
	struct wfs_gpu_slot *slot = &work->ring.slots[work->ring.next];
	unsigned code;

	if (wfs_gpu_is_cancelled(work, WFS_DEVICE_STAGE_COPY))
		return NULL;
	code = wfs_gpu_slot_wait(&work->ring, slot);
	if (!code)
		code = wfs_gpu_slot_pin(&work->ring, slot);
	if (code) {
		wfs_gpu_fail(work, WFS_DEVICE_STAGE_COPY, code,
			     "a pinned buffer");
		return NULL;
	}
	return slot;
}

/* `rows` runs of `s`, of which the first is number `row`, by one buffer. */
static int stage_rows(const struct job *job, const struct wfs_device_segment *s,
		      uint64_t row, uint64_t rows)
{
	struct wfs_gpu_work *w = job->work;
	uint64_t off = s->file_off + row * s->file_stride;
	struct wfs_gpu_slot *slot = next_slot(w);
	unsigned code;
	int rc = 0;

	if (!slot)
		return w->answer->status;
	if (is_dense(s, s->file_stride))
		rc = read_bytes(job, slot->bytes, off, s->len * rows);
	else
		for (uint64_t i = 0; i < rows && !rc; i++)
			rc = read_bytes(job, (char *)slot->bytes + i * s->len,
					off + i * s->file_stride, s->len);
	if (rc)
		return rc;
	code = queue_rows(job, s, slot->bytes, s->len,
			  job->to + s->dst_off + row * s->dst_stride, rows);
	if (!code)
		code = wfs_gpu_slot_sent(&w->ring, slot);
	return code ? wfs_gpu_fail(w, WFS_DEVICE_STAGE_COPY, code, "a copy") :
		      0;
}

/* A run that is larger than a buffer. */
static int stage_run(const struct job *job, const struct wfs_device_segment *s,
		     uint64_t row)
{
	int rc = 0;

	for (uint64_t at = 0; at < s->len && !rc; at += WFS_GPU_RING_BYTES) {
		uint64_t left = s->len - at;
		const struct wfs_device_segment part = {
			.file_off = s->file_off + row * s->file_stride + at,
			.dst_off = s->dst_off + row * s->dst_stride + at,
			.len = left < WFS_GPU_RING_BYTES ? left :
							   WFS_GPU_RING_BYTES,
			.count = 1,
		};

		rc = stage_rows(job, &part, 0, 1);
	}
	return rc;
}

static int stage(const struct job *job, const struct wfs_device_segment *s)
{
	uint64_t batch = WFS_GPU_RING_BYTES / s->len;
	int rc = 0;

	for (uint64_t row = 0; row < s->count && !rc;
	     row += batch ? batch : 1) {
		uint64_t left = s->count - row;

		rc = batch ? stage_rows(job, s, row,
					left < batch ? left : batch) :
			     stage_run(job, s, row);
	}
	return rc;
}

/* Straight from the mapped file, which the device can read. */
static int direct(const struct job *job, const struct wfs_device_segment *s)
{
	unsigned code = queue_rows(job, s, job->mapped + s->file_off,
				   s->file_stride, job->to + s->dst_off,
				   s->count);

	return code ? wfs_gpu_fail(job->work, WFS_DEVICE_STAGE_COPY, code,
				   "a copy") :
		      0;
}

/* Runs that the device would have to be told of one by one. */
static bool wants_staging(const struct wfs_gpu_work *work,
			  const struct wfs_device_segment *s)
{
	return s->count > 1 && s->len < WFS_GPU_RING_BYTES &&
	       (s->file_stride < s->len || s->file_stride > work->pitch_max);
}

static uint64_t sum(const struct wfs_device_segment *segments, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += segments[i].len * segments[i].count;
	return bytes;
}

static int queue_all(const struct job *job, bool registered,
		     const struct wfs_device_segment *segments, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = registered && !wants_staging(job->work, &segments[i]) ?
			     direct(job, &segments[i]) :
			     stage(job, &segments[i]);
	return rc;
}

int wfs_gpu_copy_queue(struct wfs_gpu_work *work, const void *from,
		       bool registered,
		       const struct wfs_device_segment *segments, size_t count,
		       uint64_t to)
{
	const struct job job = { .work = work,
				 .mapped = from,
				 .to = to,
				 .kind = WFS_CU_HOST_TO_DEVICE };

	return queue_all(&job, registered, segments, count);
}

int wfs_gpu_copy_within(struct wfs_gpu_work *work, uint64_t from,
			const struct wfs_device_segment *segments, size_t count,
			uint64_t to)
{
	const struct job job = { .work = work,
				 .mapped = device_ptr(from),
				 .to = to,
				 .kind = WFS_CU_ON_DEVICE_COPY };
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = direct(&job, &segments[i]);
	return rc;
}

int wfs_gpu_copy_wait(struct wfs_gpu_work *work)
{
	unsigned code = wfs_cuda_call(work->cuda, cudaStreamSynchronize,
				      work->ring.stream);

	return code ? wfs_gpu_fail(work, WFS_DEVICE_STAGE_SYNC, code,
				   "the copies") :
		      0;
}

static int copy_all(const struct job *job, bool registered,
		    const struct wfs_device_segment *segments, size_t count)
{
	struct wfs_gpu_work *w = job->work;
	int rc = queue_all(job, registered, segments, count);
	/* Also after a failure: nothing may still write when we answer. */
	int waited = wfs_gpu_copy_wait(w);

	rc = rc ? rc : waited;
	w->answer->bytes = rc ? 0 : sum(segments, count);
	w->answer->path = registered ? WFS_DEVICE_PATH_REGISTERED :
				       WFS_DEVICE_PATH_STAGED;
	return rc;
}

int wfs_gpu_copy(struct wfs_gpu_work *work, const struct wfs_gpu_file *file,
		 const struct wfs_device_segment *segments, size_t count,
		 uint64_t to)
{
	const struct wfs_gpu_source *source = wfs_gpu_source_get(
		work, file, sum(segments, count) >= REGISTER_LEAST);
	const struct job job = { .work = work,
				 .file = file,
				 .mapped = source ? source->at : NULL,
				 .to = to,
				 .kind = WFS_CU_HOST_TO_DEVICE };

	return copy_all(&job, source && source->registered, segments, count);
}
