/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions that a look-up asks of a model: all answered by halving what is
 * sorted, without a lock and without memory.
 */
#include <string.h>

#include "core/model/load.h"

size_t wfs_path_dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

int wfs_path_compare(const char *x, const char *y)
{
	size_t xd = wfs_path_dir_len(x), yd = wfs_path_dir_len(y);
	int order = memcmp(x, y, xd < yd ? xd : yd);

	if (order)
		return order;
	if (xd != yd)
		return xd < yd ? -1 : 1;
	return strcmp(x + xd, y + yd);
}

int64_t wfs_model_find_entry(const struct wfs_model *model, uint32_t dir,
			     const char *name)
{
	uint32_t low = model->dirs[dir].first;
	uint32_t high = low + model->dirs[dir].count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = strcmp(name, model->entries[mid].name);

		if (!order)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return -1;
}

int64_t wfs_model_find_dir(const struct wfs_model *model, uint32_t entry)
{
	uint32_t low = 0, high = model->dir_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (model->dirs[mid].entry == entry)
			return mid;
		if (entry < model->dirs[mid].entry)
			high = mid;
		else
			low = mid + 1;
	}
	return -1;
}

int64_t wfs_model_find_path(const struct wfs_model *model, const char *path)
{
	uint32_t low = 1, high = model->entry_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = wfs_path_compare(path, model->entries[mid].path);

		if (!order)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return -1;
}

int64_t wfs_model_find_rank(const struct wfs_model *model, const char *name)
{
	/* Few ranks, and their names are short: no order is kept. */
	for (uint32_t i = 0; i < model->rank_count; i++)
		if (!strcmp(model->ranks[i].name, name))
			return i;
	return -1;
}

int64_t wfs_rank_find(const struct wfs_rank *rank, const char *file_name)
{
	uint32_t low = 0, high = rank->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = strcmp(file_name, rank->tensors[mid].file_name);

		if (!order)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return -1;
}
