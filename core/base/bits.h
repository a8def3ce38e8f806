/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of small numbers that takes no memory while it is empty.
 */
#ifndef WFS_CORE_BASE_BITS_H
#define WFS_CORE_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* {0} is empty. */
struct wfs_bits {
	uint64_t *words;
	size_t count; /* of words */
};

static inline bool wfs_bits_any(const struct wfs_bits *bits)
{
	return bits->count;
}

bool wfs_bits_has(const struct wfs_bits *bits, size_t number);
void wfs_bits_add(struct wfs_bits *bits, size_t number);
/* Empty again, its memory freed. */
void wfs_bits_clear(struct wfs_bits *bits);

#endif
