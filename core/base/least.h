/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lesser and the greater of two numbers, each looked at once.
 */
#ifndef WFS_CORE_BASE_LEAST_H
#define WFS_CORE_BASE_LEAST_H

#include <stdint.h>

static inline uint64_t wfs_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t wfs_most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
