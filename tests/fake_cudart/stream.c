/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake's streams and events.  What is queued on a stream happens when
 * something waits for the stream, or an event that others can see is recorded
 * in it: no sooner, so that who forgets to wait finds nothing copied.
 */
#include "tests/fake_cudart/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE 4096

struct op {
	enum { OP_COPY, OP_SET, OP_RECORD } what;
	char *dst;
	const char *src;
	size_t dst_pitch, src_pitch, width, height;
	int value;
	unsigned event;
	uint64_t until;
	cu_kind kind;
};

struct stream {
	unsigned count;
	struct op ops[QUEUE];
};

struct event {
	unsigned slot;
	bool own, shared;
	struct stream *in; /* where it was recorded last */
};

struct event_handle {
	char magic[8];
	unsigned slot;
};

static unsigned copy_on_device(char *dst, int from, uint64_t from_off,
			       size_t size)
{
	uint64_t off;
	int to = fake_backing((uint64_t)(uintptr_t)dst, size, &off);
	char bytes[4096];

	while (to >= 0 && size) {
		size_t part = size < sizeof(bytes) ? size : sizeof(bytes);

		if (pread(from, bytes, part, (off_t)from_off) !=
			    (ssize_t)part ||
		    pwrite(to, bytes, part, (off_t)off) != (ssize_t)part)
			return WFS_CU_ILLEGAL_ADDRESS;
		from_off += part;
		off += part;
		size -= part;
	}
	return to < 0 ? WFS_CU_ILLEGAL_ADDRESS : WFS_CU_OK;
}

/* One run; a fault of a copy sticks, as that of a real one. */
static unsigned copy_run(char *dst, const char *src, size_t size, cu_kind kind)
{
	bool up = kind == WFS_CU_HOST_TO_DEVICE;
	uint64_t off;
	int fd =
		fake_backing((uint64_t)(uintptr_t)(up ? dst : src), size, &off);

	if (fd < 0)
		return WFS_CU_ILLEGAL_ADDRESS;
	if (kind == WFS_CU_ON_DEVICE_COPY)
		return copy_on_device(dst, fd, off, size);
	if (!fake_is_pinned(up ? src : dst, size))
		__atomic_fetch_add(&fake_control()->pageable, 1,
				   __ATOMIC_RELAXED);
	while (size) {
		ssize_t n = up ? pwrite(fd, src, size, (off_t)off) :
				 pread(fd, dst, size, (off_t)off);

		if (n <= 0)
			return WFS_CU_ILLEGAL_ADDRESS;
		src += n;
		dst += n;
		off += (uint64_t)n;
		size -= (size_t)n;
	}
	return WFS_CU_OK;
}

static unsigned set_run(char *dst, int value, size_t size)
{
	char bytes[4096];
	uint64_t off;
	int fd = fake_backing((uint64_t)(uintptr_t)dst, size, &off);

	memset(bytes, value, sizeof(bytes));
	while (fd >= 0 && size) {
		size_t part = size < sizeof(bytes) ? size : sizeof(bytes);

		if (pwrite(fd, bytes, part, (off_t)off) != (ssize_t)part)
			return WFS_CU_ILLEGAL_ADDRESS;
		off += part;
		size -= part;
	}
	return fd < 0 ? WFS_CU_ILLEGAL_ADDRESS : WFS_CU_OK;
}

static void record(unsigned slot, uint64_t until)
{
	struct fake_control *control = fake_control();

	fake_cu_lock(control);
	if (!control->hold_events)
		control->events[slot].done = until;
	fake_cu_unlock(control);
}

static unsigned happen(const struct op *op)
{
	unsigned code = WFS_CU_OK;

	switch (op->what) {
	case OP_COPY:
		for (size_t i = 0; i < op->height && !code; i++)
			code = copy_run(op->dst + i * op->dst_pitch,
					op->src + i * op->src_pitch, op->width,
					op->kind);
		break;
	case OP_SET:
		code = set_run(op->dst, op->value, op->width);
		break;
	case OP_RECORD:
		record(op->event, op->until);
		break;
	}
	return code;
}

static unsigned flush(struct stream *stream)
{
	unsigned code = WFS_CU_OK;

	for (unsigned i = 0; i < stream->count && !code; i++)
		code = happen(&stream->ops[i]);
	stream->count = 0;
	return code;
}

static unsigned queue(struct stream *stream, struct op op)
{
	unsigned code = WFS_CU_OK;

	if (stream->count == QUEUE)
		code = flush(stream);
	stream->ops[stream->count++] = op;
	return code;
}

cu_error cudaStreamCreateWithFlags(cu_stream *stream, unsigned flags)
{
	FAKE_ENTER();
	if (flags != WFS_CU_STREAM_NON_BLOCKING)
		return WFS_CU_INVALID_VALUE;
	*stream = calloc(1, sizeof(struct stream));
	return WFS_CU_OK;
}

cu_error cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
	FAKE_ENTER();
	*least = FAKE_LEAST;
	*greatest = -5;
	return WFS_CU_OK;
}

cu_error cudaStreamCreateWithPriority(cu_stream *stream, unsigned flags,
				      int priority)
{
	if (priority == FAKE_LEAST)
		__atomic_fetch_add(&fake_control()->modest, 1,
				   __ATOMIC_RELAXED);
	return cudaStreamCreateWithFlags(stream, flags);
}

cu_error cudaThreadExchangeStreamCaptureMode(cu_mode *mode)
{
	static _Thread_local cu_mode own;
	cu_mode before = own;

	FAKE_ENTER();
	own = *mode;
	*mode = before;
	return WFS_CU_OK;
}

cu_error cudaStreamDestroy(cu_stream stream)
{
	/* Of a process that cannot use CUDA any more it goes, too. */
	unsigned code = fake_enter(__func__);

	if (!code)
		code = flush(stream);
	free(stream);
	return code;
}

cu_error cudaStreamSynchronize(cu_stream stream)
{
	FAKE_ENTER();
	return flush(stream);
}

cu_error cudaMemcpyAsync(void *dst, const void *src, size_t size, cu_kind kind,
			 cu_stream stream)
{
	FAKE_ENTER();
	__atomic_fetch_add(&fake_control()->calls, 1, __ATOMIC_RELAXED);
	return queue(stream, (struct op){ .what = OP_COPY,
					  .dst = dst,
					  .src = src,
					  .width = size,
					  .height = 1,
					  .kind = kind });
}

cu_error cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src,
			   size_t src_pitch, size_t width, size_t height,
			   cu_kind kind, cu_stream stream)
{
	FAKE_ENTER();
	if (width > dst_pitch || width > src_pitch ||
	    dst_pitch > FAKE_MAX_PITCH || src_pitch > FAKE_MAX_PITCH)
		return 12; /* cudaErrorInvalidPitchValue */
	__atomic_fetch_add(&fake_control()->calls, 1, __ATOMIC_RELAXED);
	return queue(stream, (struct op){ .what = OP_COPY,
					  .dst = dst,
					  .dst_pitch = dst_pitch,
					  .src = src,
					  .src_pitch = src_pitch,
					  .width = width,
					  .height = height,
					  .kind = kind });
}

cu_error cudaMemsetAsync(void *ptr, int value, size_t size, cu_stream stream)
{
	FAKE_ENTER();
	return queue(stream, (struct op){ .what = OP_SET,
					  .dst = ptr,
					  .value = value,
					  .width = size });
}

static int free_slot(struct fake_control *control)
{
	int found = -1;

	fake_cu_lock(control);
	fake_cu_reap(control);
	for (int i = 0; i < FAKE_EVENTS && found < 0; i++) {
		if (control->events[i].used)
			continue;
		control->events[i] =
			(struct fake_event){ .used = true, .owner = getpid() };
		found = i;
	}
	fake_cu_unlock(control);
	return found;
}

cu_error cudaEventCreateWithFlags(cu_event *event, unsigned flags)
{
	struct event *made;
	int slot;

	FAKE_ENTER();
	if (flags & WFS_CU_EVENT_INTERPROCESS &&
	    !(flags & WFS_CU_EVENT_NO_TIMING))
		return WFS_CU_INVALID_VALUE;
	slot = free_slot(fake_control());
	if (slot < 0)
		return WFS_CU_NO_MEMORY;
	made = calloc(1, sizeof(*made));
	made->slot = (unsigned)slot;
	made->own = true;
	made->shared = flags & WFS_CU_EVENT_INTERPROCESS;
	*event = made;
	return WFS_CU_OK;
}

cu_error cudaEventDestroy(cu_event event)
{
	struct event *e = event;
	unsigned code = fake_enter(__func__);

	if (e->own)
		fake_control()->events[e->slot].used = false;
	free(e);
	return code;
}

cu_error cudaEventRecord(cu_event event, cu_stream stream)
{
	struct fake_event *events = fake_control()->events;
	struct event *e = event;
	uint64_t until;
	unsigned code;

	FAKE_ENTER();
	fake_cu_lock(fake_control());
	until = ++events[e->slot].recorded;
	fake_cu_unlock(fake_control());
	e->in = stream;
	code = queue(stream, (struct op){ .what = OP_RECORD,
					  .event = e->slot,
					  .until = until });
	/* A real one would get there by itself; nobody else can see to it. */
	return !code && e->shared ? flush(stream) : code;
}

cu_error cudaEventSynchronize(cu_event event)
{
	struct event *e = event;

	FAKE_ENTER();
	return e->in ? flush(e->in) : WFS_CU_OK;
}

cu_error cudaEventQuery(cu_event event)
{
	const struct event *e = event;
	const struct fake_event *shared = &fake_control()->events[e->slot];
	bool done;

	FAKE_ENTER();
	__atomic_fetch_add(&fake_control()->queries, 1, __ATOMIC_RELAXED);
	fake_cu_lock(fake_control());
	done = shared->done >= shared->recorded;
	fake_cu_unlock(fake_control());
	return done ? WFS_CU_OK : WFS_CU_NOT_READY;
}

cu_error cudaIpcGetEventHandle(cu_event_handle *handle, cu_event event)
{
	const struct event *e = event;
	struct event_handle inside = { .magic = "FAKEevt", .slot = e->slot };

	FAKE_ENTER();
	if (!e->shared)
		return WFS_CU_INVALID_HANDLE;
	memset(handle, 0, sizeof(*handle));
	memcpy(handle, &inside, sizeof(inside));
	return WFS_CU_OK;
}

cu_error cudaIpcOpenEventHandle(cu_event *event, cu_event_handle handle)
{
	struct event_handle inside;
	struct event *made;

	FAKE_ENTER();
	memcpy(&inside, &handle, sizeof(inside));
	if (memcmp(inside.magic, "FAKEevt", 8) != 0 ||
	    inside.slot >= FAKE_EVENTS ||
	    !fake_control()->events[inside.slot].used)
		return WFS_CU_INVALID_HANDLE;
	made = calloc(1, sizeof(*made));
	made->slot = inside.slot;
	*event = made;
	return WFS_CU_OK;
}
