/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance that can be had again: xorshift64*, which is enough for choosing
 * cases and the same everywhere.
 */
#include "tests/unit/t.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "tests/unit/chance.h"

struct chance chance_new(void)
{
	const char *given = getenv("WFS_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : wfs_now_ns();

	printf("WFS_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	return (struct chance){ seed ? seed : 1 };
}

uint64_t chance_next(struct chance *c)
{
	c->state ^= c->state >> 12;
	c->state ^= c->state << 25;
	c->state ^= c->state >> 27;
	return c->state * 0x2545f4914f6cdd1dull;
}

uint64_t chance_below(struct chance *c, uint64_t n)
{
	return (chance_next(c) >> 11) % n;
}
