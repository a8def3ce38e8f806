/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the parser of digest manifests.  What it accepts must be in order and
 * be written back as the very bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/digest/digest_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static void check(const struct wfs_digest_tree *tree, const uint8_t *data,
		  size_t size)
{
	struct wfs_text text = { 0 };

	for (size_t i = 0; i < tree->count; i++) {
		const char *path = tree->files[i].path;

		must(*path && *path != '/' && !strchr(path, '\n'));
		must(!i || strcmp(tree->files[i - 1].path, path) < 0);
		must(wfs_digest_tree_find(tree, path) == &tree->files[i]);
	}
	wfs_digest_tree_encode(tree, &text);
	must(text.len == size && !memcmp(text.data, data, size));
	free(text.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wfs_digest_tree tree = { 0 };
	struct wfs_err err = { 0 };

	if (wfs_digest_tree_parse((const char *)data, size, &tree, &err))
		must(err.code < 0 && *err.text);
	else
		check(&tree, data, size);
	wfs_digest_tree_clear(&tree);
	return 0;
}
