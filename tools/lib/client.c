/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of tensors: opened, asked, mapped one by one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/model/dtype.h"
#include "tools/lib/client.h"
#include "tools/lib/face.h"

/* Tensors by name, of which each is there once. */
static int sort(struct weightfs_set *set, struct wfs_err *err)
{
	const struct wfs_weights_tensor *a, *b;
	size_t twice;

	set->by_name = wfs_calloc(set->count + 1, sizeof(*set->by_name));
	for (uint32_t i = 0; i < set->count; i++)
		set->by_name[i] = (struct wfs_key){ set->tensors[i].name,
						    set->tensors[i].name_len,
						    i };
	wfs_keys_sort(set->by_name, set->count);
	twice = wfs_keys_repeated(set->by_name, set->count);
	if (!twice)
		return 0;
	a = &set->tensors[set->by_name[twice - 1].tag];
	b = &set->tensors[set->by_name[twice].tag];
	return wfs_err_set(err, -EEXIST,
			   "'%s' holds tensor '%s' twice, in '%s' and '%s': "
			   "say which rank is wanted",
			   set->path, a->name, set->files[a->file].name,
			   set->files[b->file].name);
}

int weightfs_open(const char *path, const char *rank,
		  struct weightfs_set **ret_set)
{
	struct wfs_err *err = wfs_face_err();
	struct weightfs_set *set;
	int rc;

	if (!path || !*path)
		return wfs_err_set(err, -EINVAL, "no path was given");
	set = wfs_calloc(1, sizeof(*set));
	set->path = wfs_strdup(path);
	set->dir = -1;
	rc = wfs_weights_find(set, rank, err);
	if (!rc)
		rc = sort(set, err);
	if (rc)
		weightfs_close(set);
	else
		*ret_set = set;
	return rc;
}

void weightfs_close(struct weightfs_set *set)
{
	if (!set)
		return;
	for (uint32_t i = 0; i < set->file_count; i++) {
		wfs_weights_file_drop(&set->files[i]);
		pthread_mutex_destroy(&set->files[i].lock);
	}
	wfs_closep(&set->dir);
	wfs_pool_clear(&set->pool);
	free(set->files);
	free(set->tensors);
	free(set->by_name);
	free(set->path);
	free(set);
}

size_t weightfs_count(const struct weightfs_set *set)
{
	return set->count;
}

void weightfs_tensor(const struct weightfs_set *set, size_t i,
		     struct weightfs_tensor *ret_tensor)
{
	const struct wfs_weights_tensor *t = &set->tensors[i];

	*ret_tensor = (struct weightfs_tensor){
		.name = t->name,
		.name_len = t->name_len,
		.dtype = wfs_dtype_name((enum wfs_dtype)t->dtype),
		.shape = t->shape,
		.ndim = t->ndim,
		.size = t->size,
	};
}

int64_t weightfs_find(const struct weightfs_set *set, const char *name,
		      size_t name_len)
{
	struct wfs_key wanted = { name, (uint32_t)name_len, 0 };
	uint32_t low = 0, high = set->count;

	while (low < high && name_len <= UINT32_MAX) {
		uint32_t mid = low + (high - low) / 2;
		int order = wfs_key_compare(&wanted, &set->by_name[mid]);

		if (!order)
			return set->by_name[mid].tag;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return wfs_err_set(wfs_face_err(), -ENOENT, "'%s' has no tensor '%.*s'",
			   set->path, (int)name_len, name);
}

void weightfs_prefetch(struct weightfs_set *set, size_t first, size_t count)
{
	uint32_t last = UINT32_MAX;

	for (size_t i = first; i < set->count && count; i++, count--) {
		uint32_t file = set->tensors[i].file;

		if (file != last)
			wfs_weights_file_start(set, &set->files[file]);
		last = file;
	}
}

int weightfs_map(struct weightfs_set *set, size_t i, void **ret_bytes,
		 struct weightfs_mapping **ret_mapping)
{
	struct wfs_err *err = wfs_face_err();
	struct weightfs_mapping *mapping = NULL;
	struct wfs_weights_piece piece = { .tensor = (uint32_t)i };
	struct wfs_weights_tensor *t;
	struct wfs_weights_file *file;
	atomic_bool stop = false;
	int rc = 0;

	if (i >= set->count)
		return wfs_err_set(err, -EINVAL, "'%s' has no tensor %zu",
				   set->path, i);
	t = &set->tensors[i];
	file = &set->files[t->file];
	piece.len = t->size;
	if (t->size)
		rc = wfs_weights_file_open(set, file, &stop, err);
	if (!rc && t->size)
		rc = wfs_weights_file_map(set, file, &mapping, err);
	if (!rc && t->size && mapping->anonymous)
		rc = wfs_weights_piece_fill(set, &piece, err);
	if (rc)
		return rc;
	if (mapping && mapping->anonymous)
		mapping->filled[i - file->first] = true;
	if (mapping)
		atomic_fetch_add(&mapping->refs, 1);
	*ret_bytes = mapping ? mapping->base + t->off : NULL;
	*ret_mapping = mapping;
	return 0;
}
