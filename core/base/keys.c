/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The natural merge sort: runs that are in order already are found first and
 * then merged pair by pair, so sorted input costs one comparison a name.
 */
#include <stdbool.h>
#include <string.h>

#include "core/base/keys.h"
#include "core/base/text.h"

int wfs_key_compare(const struct wfs_key *a, const struct wfs_key *b)
{
	uint32_t len = a->len < b->len ? a->len : b->len;
	int order = len ? memcmp(a->s, b->s, len) : 0;

	if (order)
		return order;
	return a->len < b->len ? -1 : a->len > b->len;
}

/* Merges [0, mid) and [mid, end) of `from` into `to`. */
static void merge(const struct wfs_key *from, size_t mid, size_t end,
		  struct wfs_key *to)
{
	size_t a = 0, b = mid;

	while (a < mid && b < end)
		*to++ = wfs_key_compare(&from[b], &from[a]) < 0 ? from[b++] :
								  from[a++];
	while (a < mid)
		*to++ = from[a++];
	while (b < end)
		*to++ = from[b++];
}

/* Where each run begins, and `count` at the end; returns how many runs. */
static size_t find_runs(const struct wfs_key *keys, size_t count,
			size_t **ret_starts)
{
	size_t *starts = NULL;
	size_t runs = 0, cap = 0;

	for (size_t i = 0; i < count; i++) {
		if (i && wfs_key_compare(&keys[i - 1], &keys[i]) <= 0)
			continue;
		if (runs + 2 > cap) {
			cap = cap ? cap * 2 : 64;
			starts = wfs_realloc(starts, cap * sizeof(*starts));
		}
		starts[runs++] = i;
	}
	if (runs)
		starts[runs] = count;
	*ret_starts = starts;
	return runs;
}

void wfs_keys_sort(struct wfs_key *keys, size_t count)
{
	size_t *starts wfs_autofree = NULL;
	struct wfs_key *spare wfs_autofree = NULL;
	struct wfs_key *from = keys, *to;
	size_t runs = find_runs(keys, count, &starts);

	if (runs < 2)
		return;
	spare = wfs_malloc(count * sizeof(*spare));
	to = spare;
	while (runs > 1) {
		size_t left = 0;

		for (size_t r = 0; r < runs; r += 2) {
			size_t begin = starts[r], mid = starts[r + 1];
			size_t end = r + 1 < runs ? starts[r + 2] : mid;

			merge(from + begin, mid - begin, end - begin,
			      to + begin);
			starts[left++] = begin;
		}
		starts[left] = count;
		runs = left;
		struct wfs_key *swap = from;
		from = to;
		to = swap;
	}
	if (from != keys)
		memcpy(keys, from, count * sizeof(*keys));
}

size_t wfs_keys_repeated(const struct wfs_key *keys, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (!wfs_key_compare(&keys[i - 1], &keys[i]))
			return i;
	return 0;
}
