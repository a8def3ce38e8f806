/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions that a look-up asks of a model: all answered by halving what is
 * sorted, without a lock and without memory.
 */
#include <string.h>

#include "core/model/load.h"
#include "core/model/names.h"

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

/* < 0, 0, > 0: how what is looked for stands to number `at` of `list`. */
typedef int compare_fn(const void *wanted, const void *list, uint32_t at);

/* In [low, high), which is sorted; or -1. */
static int64_t find(const void *wanted, const void *list, uint32_t low,
		    uint32_t high, compare_fn *compare)
{
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = compare(wanted, list, mid);

		if (!order)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return -1;
}

static int compare_entry(const void *wanted, const void *list, uint32_t at)
{
	return strcmp(wanted, ((const struct wfs_model_entry *)list)[at].name);
}

int64_t wfs_model_find_entry(const struct wfs_model *model, uint32_t dir,
			     const char *name)
{
	uint32_t first = model->dirs[dir].first;

	return find(name, model->entries, first, first + model->dirs[dir].count,
		    compare_entry);
}

static int compare_dir(const void *wanted, const void *list, uint32_t at)
{
	uint32_t entry = *(const uint32_t *)wanted;
	uint32_t other = ((const struct wfs_model_dir *)list)[at].entry;

	return entry < other ? -1 : entry > other;
}

int64_t wfs_model_find_dir(const struct wfs_model *model, uint32_t entry)
{
	return find(&entry, model->dirs, 0, model->dir_count, compare_dir);
}

static int compare_path(const void *wanted, const void *list, uint32_t at)
{
	return wfs_path_compare(
		wanted, ((const struct wfs_model_entry *)list)[at].path);
}

int64_t wfs_model_find_path(const struct wfs_model *model, const char *path)
{
	return find(path, model->entries, 1, model->entry_count, compare_path);
}

int64_t wfs_model_find_rank(const struct wfs_model *model, const char *name)
{
	/* Few ranks, and their names are short: no order is kept. */
	for (uint32_t i = 0; i < model->rank_count; i++)
		if (!strcmp(model->ranks[i].name, name))
			return i;
	return -1;
}

static int compare_tensor(const void *wanted, const void *list, uint32_t at)
{
	return strcmp(wanted, ((const struct wfs_tensor *)list)[at].file_name);
}

int64_t wfs_rank_find(const struct wfs_rank *rank, const char *file_name)
{
	return find(file_name, rank->tensors, 0, rank->count, compare_tensor);
}

int64_t wfs_rank_find_tensor(const struct wfs_rank *rank, const char *name)
{
	char escaped[WFS_FILE_NAME_MAX + 1];

	return wfs_rank_find(rank, wfs_name_file(name, strlen(name), escaped));
}
