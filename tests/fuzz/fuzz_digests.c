/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the parser of encoded lists of digests.  The region that it is told to
 * expect is the one that the list claims, so that something gets past that; a
 * list that it accepts must be the very bytes, have its own root, and no other.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static uint64_t claimed_size(const uint8_t *data, size_t size)
{
	uint64_t claim = 0;

	for (size_t i = 0; i < 8 && size >= WFS_DIGESTS_HEAD; i++)
		claim |= (uint64_t)data[24 + i] << 8 * i;
	return claim;
}

static void check(const struct wfs_digests *list, const uint8_t *data,
		  size_t size)
{
	struct wfs_digests *again = NULL;
	uint8_t head[WFS_DIGESTS_HEAD], root[WFS_DIGEST_MAX];
	size_t body = list->count * wfs_digest_size(list->algorithm);

	must(list->count == wfs_chunk_count(list->size));
	must(size == sizeof(head) + body);
	wfs_digests_head(list, head);
	must(!memcmp(head, data, sizeof(head)));
	must(!memcmp(list->bytes, data + sizeof(head), body));
	wfs_digests_root(list, root);
	must(!wfs_digests_parse(data, size, list->algorithm, list->size, root,
				&again, NULL));
	free(again);
	root[0] ^= 1;
	must(wfs_digests_parse(data, size, list->algorithm, list->size, root,
			       &again, NULL) < 0);
	must(wfs_digests_parse(data, size, list->algorithm, list->size + 1,
			       NULL, &again, NULL) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum wfs_digest_algorithm kinds[] = { WFS_XXH3_128,
							   WFS_SHA256 };

	for (int i = 0; i < 2; i++) {
		struct wfs_digests *list wfs_autofree = NULL;
		struct wfs_err err = { 0 };

		if (wfs_digests_parse(data, size, kinds[i],
				      claimed_size(data, size), NULL, &list,
				      &err))
			must(err.code < 0 && *err.text);
		else
			check(list, data, size);
	}
	return 0;
}
