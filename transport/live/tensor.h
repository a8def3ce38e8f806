/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor as it lies in memory: where it begins, and how far apart its
 * elements are.
 *
 * What is not contiguous is a recipe and not a copy: runs of bytes that lie
 * together, and the steps between them.  Neighbouring dimensions are one
 * where they can be, so a contiguous tensor is a single run.
 */
#ifndef WFS_TRANSPORT_LIVE_TENSOR_H
#define WFS_TRANSPORT_LIVE_TENSOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/err.h"
#include "core/model/dtype.h"
#include "core/model/safetensors.h"

struct wfs_live_reader; /* transport/live/bounce.h */

/* What somebody says of a tensor.  Nothing in it is taken for granted. */
struct wfs_live_said {
	const char *name;
	const char *dtype;     /* "BF16", as safetensors names it */
	const uint64_t *shape; /* ndim of them */
	/* Elements from one to the next, may be negative; NULL: contiguous. */
	const int64_t *strides;
	unsigned ndim;
	const void *data; /* the first element */
	/* Whose memory it is; outlives the tensor.  NULL: the host's. */
	const struct wfs_live_reader *reader;
};

struct wfs_live_tensor {
	char *name;
	uint64_t *shape;
	uint64_t size; /* bytes */
	enum wfs_dtype dtype;
	unsigned ndim;
	const char *data;
	const struct wfs_live_reader *reader; /* or NULL: host memory */
	uint64_t run;			      /* bytes that lie together */
	unsigned dims;	     /* of the runs, the slowest first */
	uint64_t *counts;    /* of each */
	int64_t *steps;	     /* bytes */
	uintptr_t low, high; /* its memory: [low, high) */
};

/*
 * Checks and copies what was said (not the bytes).  -EINVAL, -EOVERFLOW with a
 * sentence.  Cleared with wfs_live_tensor_clear.
 */
int wfs_live_tensor_init(const struct wfs_live_said *said,
			 struct wfs_live_tensor *ret_tensor,
			 struct wfs_err *err);
void wfs_live_tensor_clear(struct wfs_live_tensor *tensor);

/* Does it lie together? */
static inline bool
wfs_live_tensor_is_whole(const struct wfs_live_tensor *tensor)
{
	return tensor->dims == 0;
}

/* Can it be read where it is, by a network device? */
static inline bool
wfs_live_tensor_can_be_lent(const struct wfs_live_tensor *tensor)
{
	return tensor->size && !tensor->reader &&
	       wfs_live_tensor_is_whole(tensor);
}

/* Where a walk over the bytes of a tensor is. */
struct wfs_live_walk {
	const struct wfs_live_tensor *tensor;
	uint64_t at[WFS_DIMS_MAX];
	const char *run;
	uint64_t skip; /* bytes of that run that were passed */
};

/* At byte `off` of the tensor, which lies within it. */
void wfs_live_walk_start(struct wfs_live_walk *walk,
			 const struct wfs_live_tensor *tensor, uint64_t off);
/*
 * The next up to `len` bytes as at most `max` pieces: how many they are, and
 * how many bytes, at least one.
 */
int wfs_live_walk_next(struct wfs_live_walk *walk, size_t len,
		       struct iovec *ret_pieces, int max, size_t *ret_len);

#endif
