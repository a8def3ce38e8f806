/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting names.
 *
 * Names come from files that others wrote, mostly in order already: sorted by
 * a writer, or sorted in each of two hundred files.  A natural merge sort
 * uses the order that is there, compares bytes (not characters, not in a
 * locale), and has no worst case that a hostile file could ask for.
 */
#ifndef WFS_CORE_BASE_KEYS_H
#define WFS_CORE_BASE_KEYS_H

#include <stddef.h>
#include <stdint.h>

/* `len` bytes, which may hold NULs; `tag` is the caller's. */
struct wfs_key {
	const char *s;
	uint32_t len;
	uint32_t tag;
};

/* < 0, 0, > 0 in byte order; a prefix comes before what it begins. */
int wfs_key_compare(const struct wfs_key *a, const struct wfs_key *b);

/* Byte order; equal keys keep their order. */
void wfs_keys_sort(struct wfs_key *keys, size_t count);

/*
 * In sorted keys: the index of the first one that equals the one before it,
 * 0 when there is none.
 */
size_t wfs_keys_repeated(const struct wfs_key *keys, size_t count);

#endif
