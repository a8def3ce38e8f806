/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the fake share with each other.
 */
#ifndef WFS_TESTS_FAKE_CUDART_INNER_H
#define WFS_TESTS_FAKE_CUDART_INNER_H

#include "tests/fake_cudart/fake.h"
#include "transport/cuda/api.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): names and lists of parameters */
#define PROTOTYPE(name, params)	       cu_error name params;
#define DRIVER_PROTOTYPE(name, params) cu_result name params;
WFS_CUDART_CALLS(PROTOTYPE)
WFS_CUDART_FIND(PROTOTYPE)
WFS_CUDRIVER_CALLS(DRIVER_PROTOTYPE)
WFS_CUDRIVER_RANGE(DRIVER_PROTOTYPE)
#undef PROTOTYPE
#undef DRIVER_PROTOTYPE
/* NOLINTEND(bugprone-macro-parentheses) */
const char *cudaGetErrorString(cu_error code);

#define FAKE_MAX_PITCH 0x7fffffff

/* The folder and the control; NULL where there is no device. */
const char *fake_dir(void);
struct fake_control *fake_control(void);

/* At the head of every call: what befalls it, WFS_CU_OK for nothing. */
unsigned fake_enter(const char *call);
#define FAKE_ENTER()                                                           \
	do {                                                                   \
		unsigned code_ = fake_enter(__func__);                         \
                                                                               \
		if (code_)                                                     \
			return code_;                                          \
	} while (0)
/* Ends the process: it did what corrupts memory or crashes for real. */
void fake_misuse(const char *what) __attribute__((noreturn));

int fake_current_device(void);
/* Is the device that this process sees a part of one (MIG)? */
bool fake_is_part(void);

/* The file behind `size` bytes of device memory, and where; -1: not ours. */
int fake_backing(uint64_t ptr, size_t size, uint64_t *ret_off);
/* Was host memory pinned? */
bool fake_is_pinned(const void *ptr, size_t size);

#endif
