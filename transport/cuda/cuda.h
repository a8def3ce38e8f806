/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcudart, opened at run time: one program runs with and without GPUs.
 *
 * Only GPU helper processes (helper.h), who says what this machine has and the
 * library, in programs that use CUDA themselves, load it: a CUDA error that
 * sticks ends a process, and the daemon's must go on.
 */
#ifndef WFS_TRANSPORT_CUDA_CUDA_H
#define WFS_TRANSPORT_CUDA_CUDA_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/device.h"
#include "transport/cuda/api.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): names and lists of parameters */
struct wfs_cuda {
#define WFS_CUDART_MEMBER(name, params)	  cu_error(*name) params;
#define WFS_CUDRIVER_MEMBER(name, params) cu_result(*name) params;
	WFS_CUDART_CALLS(WFS_CUDART_MEMBER)
	WFS_CUDART_FIND(WFS_CUDART_MEMBER)	/* NULL before 12.5 */
	WFS_CUDRIVER_CALLS(WFS_CUDRIVER_MEMBER) /* all of them or none */
	WFS_CUDRIVER_RANGE(WFS_CUDRIVER_MEMBER) /* each may be NULL */
#undef WFS_CUDART_MEMBER
#undef WFS_CUDRIVER_MEMBER
	const char *(*cudaGetErrorString)(cu_error code);
	bool vmm;	     /* the driver's calls were found */
	const char *library; /* the name that it was found by */
};
/* NOLINTEND(bugprone-macro-parentheses) */

/*
 * The calls, loaded once and never unloaded.  -ENXIO with a sentence: there is
 * no library, or one that is too old.  From any thread.
 */
int wfs_cuda_load(const struct wfs_cuda **ret_cuda, struct wfs_err *err);

/*
 * How many GPUs this process sees: -ENXIO with "no device", which is also what
 * a machine without a driver has.
 */
int wfs_cuda_count(const struct wfs_cuda *cuda, int *ret_count,
		   struct wfs_err *err);

/*
 * Calls and, if it fails, logs which call it was, the code and CUDA's text,
 * and takes the error off the thread.  The code, CUDA's or the driver's.
 */
#define wfs_cuda_call(cuda, name, ...)                                         \
	wfs_cuda_said((cuda), #name, (cuda)->name(__VA_ARGS__))
unsigned wfs_cuda_said(const struct wfs_cuda *cuda, const char *call,
		       unsigned code);

/* Does this code end the use of CUDA in the process that got it? */
bool wfs_cuda_sticks(unsigned code);

/* A code at a stage as a negative errno (core/device.h); 0 for none. */
int wfs_cuda_errno(unsigned code, enum wfs_device_stage stage);

#endif
