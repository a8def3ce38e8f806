/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds the parser of model.safetensors.index.json. Whatever it accepts must
 * be sorted, without repeats, and lead to a file for every tensor.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static void check(const struct wfs_index *index)
{
	must(index->count && index->file_count);
	for (uint32_t i = 0; i < index->count; i++) {
		const struct wfs_key *key = &index->tensors[i];

		must(key->tag < index->count);
		must(index->file[key->tag] < index->file_count);
		must(!i || wfs_key_compare(key - 1, key) < 0);
	}
	for (uint32_t i = 1; i < index->file_count; i++)
		must(strcmp(index->files[i - 1], index->files[i]) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text wfs_autofree = wfs_malloc(size + WFS_JSON_PADDING);
	struct wfs_index index = { 0 };
	struct wfs_err err = { 0 };

	memcpy(text, data, size);
	if (wfs_index_parse(text, size, "i", &index, &err))
		must(err.code < 0 && *err.text);
	else
		check(&index);
	wfs_index_clear(&index);
	return 0;
}
