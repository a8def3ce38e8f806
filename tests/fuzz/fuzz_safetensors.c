/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds whole safetensors files to the parser of their headers. Whatever it
 * accepts must keep the promises that the rest relies on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/dtype.h"
#include "core/model/names.h"
#include "core/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
	if (!truth)
		abort();
}

static void check_tensor(const struct wfs_safetensor *t, uint64_t file_size)
{
	char file[WFS_FILE_NAME_MAX + 1], back[WFS_FILE_NAME_MAX + 1];
	uint64_t bytes = ~t->size;
	ssize_t len;

	must(!wfs_dtype_bytes((enum wfs_dtype)t->dtype, t->shape, t->ndim,
			      &bytes));
	must(bytes == t->size);
	must(t->off <= file_size && t->size <= file_size - t->off);
	must(wfs_name_escape(t->name, t->name_len, file) == strlen(file));
	must(*file && !strchr(file, '/') && strlen(file) <= 255);
	len = wfs_name_unescape(file, back);
	must(len < 0 || ((size_t)len == t->name_len &&
			 !memcmp(back, t->name, t->name_len)));
	must(len >= 0 || strstr(file, "%~"));
}

static void check(const struct wfs_safetensors *st, uint64_t file_size)
{
	uint64_t at = st->data;

	for (uint32_t i = 0; i < st->count; i++) {
		const struct wfs_safetensor *t =
			&st->tensors[st->file_order[i]];

		must(t->off == at);
		at += t->size;
		check_tensor(t, file_size);
	}
	must(at == file_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wfs_safetensors st = { 0 };
	struct wfs_pool pool = { 0 };
	struct wfs_err err = { 0 };
	char *header wfs_autofree = NULL;
	uint64_t len;

	if (wfs_safetensors_header_len(data, size, "f", &len, &err))
		return 0;
	header = wfs_malloc(len + WFS_JSON_PADDING);
	memcpy(header, data + 8, len);
	if (wfs_safetensors_parse(header, len, size, "f", &pool, &st, &err))
		must(err.code < 0 && *err.text);
	else
		check(&st, size);
	wfs_safetensors_clear(&st);
	wfs_pool_clear(&pool);
	return 0;
}
