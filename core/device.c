/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapper in front of every backend that has GPUs: what a reader asks for
 * is held against the sizes here, once, before anything acts on it.
 */
#include "core/device.h"

#include <errno.h>
#include <string.h>

#include "core/base/mem.h"

typedef unsigned long long ull;

#define NS_PER_S 1000000000ull

/* What hangs is given up some time, whoever says that it may take for ever. */
static uint64_t last_of(uint64_t deadline_ns)
{
	uint64_t last = wfs_now_ns() + WFS_DEVICE_LONGEST_S * NS_PER_S;

	return deadline_ns < last ? deadline_ns : last;
}

/*
 * One side of a segment: do its runs end within `bytes`, however it overflows?
 * The stride of a single run is not looked at.
 */
static int span(uint64_t off, uint64_t len, uint64_t stride, uint64_t count,
		uint64_t bytes)
{
	uint64_t last = 0, end;

	if (!len || !count)
		return -EINVAL;
	if ((count > 1 && __builtin_mul_overflow(stride, count - 1, &last)) ||
	    __builtin_add_overflow(last, len, &end) ||
	    __builtin_add_overflow(end, off, &end) || end > bytes)
		return -ERANGE;
	return 0;
}

static int check_segment(const struct wfs_device_segment *s,
			 uint64_t file_bytes, uint64_t memory_bytes)
{
	int rc =
		span(s->file_off, s->len, s->file_stride, s->count, file_bytes);

	if (rc)
		return rc;
	if (s->count > 1 && s->dst_stride < s->len)
		return -EINVAL;
	return span(s->dst_off, s->len, s->dst_stride, s->count, memory_bytes);
}

int wfs_device_segments_check(const struct wfs_device_segment *segments,
			      size_t count, uint64_t file_bytes,
			      uint64_t memory_bytes, struct wfs_err *err)
{
	if (!count || count > WFS_DEVICE_SEGMENTS)
		return wfs_err_set(err, -EINVAL,
				   "%zu segments: there must be 1 to %d", count,
				   WFS_DEVICE_SEGMENTS);
	for (size_t i = 0; i < count; i++) {
		int rc = check_segment(&segments[i], file_bytes, memory_bytes);

		if (rc == -EINVAL)
			return wfs_err_set(err, rc,
					   "segment %zu has no bytes, or runs "
					   "that overlap",
					   i);
		if (rc)
			return wfs_err_set(err, rc,
					   "segment %zu ends outside of the "
					   "file's %llu bytes or of the "
					   "memory's %llu",
					   i, (ull)file_bytes,
					   (ull)memory_bytes);
	}
	return 0;
}

static int no_device(struct wfs_device_fault *fault, struct wfs_err *err)
{
	fault->stage = WFS_DEVICE_STAGE_DEVICE;
	fault->cuda_err = 0;
	return wfs_err_set(err, -ENXIO, "no GPU is served on this node");
}

/* A mistake in what was asked, found before any device was. */
static int refused(struct wfs_device_fault *fault, int rc)
{
	fault->stage = WFS_DEVICE_STAGE_AUTH;
	fault->cuda_err = 0;
	return rc;
}

int wfs_device_info(struct wfs_device *dev,
		    const struct wfs_device_caller *caller,
		    struct wfs_device_info *ret_info)
{
	if (dev)
		return dev->ops->info(dev, caller, ret_info);
	*ret_info = (struct wfs_device_info){ 0 };
	return 0;
}

int wfs_device_fill(struct wfs_device *dev, const struct wfs_device_fill *fill,
		    struct wfs_device_filled *ret_filled,
		    struct wfs_device_fault *fault, struct wfs_err *err)
{
	int rc = wfs_device_segments_check(fill->segments, fill->segment_count,
					   fill->file_bytes, fill->memory_bytes,
					   err);
	struct wfs_device_fill bounded;

	if (rc)
		return refused(fault, rc);
	if (fill->memory != WFS_DEVICE_CUDA_IPC &&
	    !wfs_device_by_descriptor(fill->memory))
		return refused(fault, wfs_err_set(err, -EINVAL,
						  "%u is no kind of memory",
						  fill->memory));
	if (fill->memory != WFS_DEVICE_CUDA_IPC && fill->memory_fd < 0)
		return refused(fault, wfs_err_set(err, -EINVAL,
						  "memory by a descriptor, "
						  "without one"));
	if (!dev)
		return no_device(fault, err);
	bounded = *fill;
	bounded.deadline_ns = last_of(fill->deadline_ns);
	return dev->ops->fill(dev, &bounded, ret_filled, fault, err);
}

int wfs_device_lend(struct wfs_device *dev, const struct wfs_device_want *want,
		    struct wfs_device_lent *ret_lent,
		    struct wfs_device_fault *fault, struct wfs_err *err)
{
	struct wfs_device_want bounded;

	if (!want->file_bytes)
		return refused(fault, wfs_err_set(err, -EINVAL,
						  "a tensor of no bytes cannot "
						  "be lent"));
	if (want->memory > WFS_DEVICE_VMM_FD)
		return refused(fault, wfs_err_set(err, -EINVAL,
						  "%u is no kind of memory",
						  want->memory));
	if (!dev)
		return no_device(fault, err);
	bounded = *want;
	bounded.deadline_ns = last_of(want->deadline_ns);
	return dev->ops->lend(dev, &bounded, ret_lent, fault, err);
}

int wfs_device_descriptor(struct wfs_device *dev,
			  const struct wfs_device_caller *caller,
			  uint64_t lease, int *ret_fd, uint64_t *ret_bytes)
{
	return dev ? dev->ops->descriptor(dev, caller, lease, ret_fd,
					  ret_bytes) :
		     -ENOENT;
}

int wfs_device_drop(struct wfs_device *dev,
		    const struct wfs_device_caller *caller, uint64_t lease,
		    uint64_t cookie)
{
	if (!lease && !cookie)
		return -EINVAL;
	return dev ? dev->ops->drop(dev, caller, lease, cookie) : -ENOENT;
}

void wfs_device_close(struct wfs_device *dev)
{
	if (dev)
		dev->ops->close(dev);
}
