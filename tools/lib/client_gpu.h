/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading to memory of a GPU: what the threads of a load share, and the lane
 * that each of them sends pieces by.
 */
#ifndef WFS_TOOLS_LIB_CLIENT_GPU_H
#define WFS_TOOLS_LIB_CLIENT_GPU_H

#include "tools/lib/client.h"
#include "transport/cuda/cuda.h"

/*
 * Bytes of a file's memory that a device reads are registered by that much, so
 * no piece may have bytes of two.
 */
#define WFS_WEIGHTS_WINDOW (32u << 20)

struct wfs_weights_gpu {
	const struct wfs_cuda *cuda; /* NULL: the load is to host memory */
	const char *name;	     /* "cuda:0", the caller's */
	int device;
	atomic_bool registers; /* till a file's memory is refused */
	/* The bytes of a piece, or of a part of it, are where they are to be. */
	void (*landed)(void *ctx, const struct wfs_weights_piece *piece);
	void *ctx;
};

/*
 * Fills all but landed and ctx.  NULL and "cpu" are host memory.
 * `staged`: never registers.  -EINVAL no such name, -ENODEV no such GPU, -ENXIO
 * no CUDA.
 */
int wfs_weights_gpu_find(const char *name, bool staged,
			 struct wfs_weights_gpu *ret_gpu, struct wfs_err *err);

/* Of one thread, which it gives the device. */
struct wfs_weights_lane;
int wfs_weights_lane_new(struct wfs_weights_gpu *gpu,
			 const struct weightfs_set *set,
			 struct wfs_weights_lane **ret_lane,
			 struct wfs_err *err);
/* Sends a piece of an open file on its way to `to`. */
int wfs_weights_lane_send(struct wfs_weights_lane *lane,
			  const struct wfs_weights_piece *piece, void *to,
			  struct wfs_err *err);
/* Until all that was sent has landed. */
int wfs_weights_lane_drain(struct wfs_weights_lane *lane, struct wfs_err *err);
/* Afterwards nothing of it is under way. */
void wfs_weights_lane_free(struct wfs_weights_lane *lane);

/*
 * Takes a file's memory from the device, by a thread that has one: nothing of
 * it is under way.
 */
void wfs_weights_file_unregister(const struct wfs_weights_gpu *gpu,
				 struct wfs_weights_file *file);

#endif
