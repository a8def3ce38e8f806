/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See bits.h.
 */
#include "core/base/bits.h"

#include <string.h>

#include "core/base/mem.h"

#define WORD_BITS 64

bool wfs_bits_has(const struct wfs_bits *bits, size_t number)
{
	size_t at = number / WORD_BITS;

	return at < bits->count && bits->words[at] >> number % WORD_BITS & 1;
}

void wfs_bits_add(struct wfs_bits *bits, size_t number)
{
	size_t at = number / WORD_BITS;

	if (at >= bits->count) {
		bits->words = wfs_realloc(bits->words,
					  (at + 1) * sizeof(*bits->words));
		memset(bits->words + bits->count, 0,
		       (at + 1 - bits->count) * sizeof(*bits->words));
		bits->count = at + 1;
	}
	bits->words[at] |= 1ull << number % WORD_BITS;
}

void wfs_bits_clear(struct wfs_bits *bits)
{
	free(bits->words);
	*bits = (struct wfs_bits){ 0 };
}
