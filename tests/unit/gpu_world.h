/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of GPUs over the FAKE libcudart, with real helper
 * processes: the test program itself, executed as one.  The reader is the test,
 * or a child of it.
 */
#ifndef WFS_TESTS_UNIT_GPU_WORLD_H
#define WFS_TESTS_UNIT_GPU_WORLD_H

#include "core/device.h"
#include "tests/unit/fake_gpus.h"
#include "transport/cuda/cuda.h"
#include "transport/cuda/device.h"

#define GPU_FILE (20u << 20) /* bytes of the file that fills come from */

struct gpu_world {
	struct fake_control *fake;
	const struct wfs_cuda *cuda; /* the reader's */
	struct wfs_device *dev;
	int fd; /* of the file */
	uint8_t *bytes;
	struct wfs_device_fault fault;
	struct wfs_err err;
};

/*
 * First of all in main: a helper's life, if that is what the program was
 * executed for; else it goes on, with the fake.
 */
void gpu_world_enter(int argc, char **argv);

int gpu_world_open(void **state);
/* The same, where helpers keep no file for longer than it takes. */
int gpu_world_open_forgetful(void **state);
/* Asserts that no device memory is left over. */
int gpu_world_close(void **state);

/* Device memory of the reader's, and the handle that it exports. */
struct gpu_target {
	uint32_t memory;
	void *ptr;
	uint64_t bytes;
	uint8_t handle[WFS_DEVICE_HANDLE];
	int fd;
	cu_alloc alloc;
	cu_pool pool;
};
struct gpu_target gpu_target_make(const struct gpu_world *w, uint32_t memory,
				  uint64_t bytes);
/* Gives a descriptor's memory, of which `alloc` is set, its addresses. */
void gpu_target_map(const struct gpu_world *w, struct gpu_target *target);
void gpu_target_free(const struct gpu_world *w, struct gpu_target *target);
/* What lies in it now; freed by the caller. */
uint8_t *gpu_target_read(const struct gpu_world *w,
			 const struct gpu_target *target);

/* Asserts that it holds the start of the file. */
void gpu_expect_file(const struct gpu_world *w,
		     const struct gpu_target *target);

/* A fill of `target` with one segment of the start of the file. */
struct wfs_device_fill gpu_fill_of(const struct gpu_world *w,
				   const struct gpu_target *target,
				   struct wfs_device_segment *segment);
int gpu_fill(struct gpu_world *w, const struct wfs_device_fill *fill);

/* A process that lives until the other end, *ret_hold, is closed. */
pid_t gpu_reader_start(int *ret_hold);

/* Helpers that this process has now. */
unsigned gpu_helpers(void);
/* Until they are so many; fails the test after a minute. */
void gpu_await_helpers(unsigned n);
/* Until so many bytes of the devices are used by anybody. */
void gpu_await_used(struct gpu_world *w, uint64_t bytes);
/* The pid of the only one. */
pid_t gpu_helper(void);
/* Kills it, and waits until it has ended. */
void gpu_kill_helper(void);

#endif
