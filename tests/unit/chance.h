/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance that can be had again: the seed is printed, and WFS_SEED sets it.
 */
#ifndef WFS_TESTS_UNIT_CHANCE_H
#define WFS_TESTS_UNIT_CHANCE_H

#include <stdint.h>

struct chance {
	uint64_t state;
};

/* From WFS_SEED or the clock; prints it. */
struct chance chance_new(void);
uint64_t chance_next(struct chance *c);
/* 0 … n - 1 */
uint64_t chance_below(struct chance *c, uint64_t n);

#endif
