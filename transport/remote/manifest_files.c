/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a manifest, whoever put it together: in order, sound together,
 * found by path.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "transport/remote/manifest.h"

const struct wfs_manifest_file *
wfs_manifest_find(const struct wfs_manifest *manifest, const char *path)
{
	/* bsearch takes no const key of another type. */
	size_t lo = 0, hi = manifest->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = strcmp(manifest->files[mid].path, path);

		if (!order)
			return &manifest->files[mid];
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Sorted: each path once, in a directory that is there. */
static int check_tree(const struct wfs_manifest *m, const char *what,
		      struct wfs_err *err)
{
	uint64_t total = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct wfs_manifest_file *file = &m->files[i], *dir;
		const char *slash = strrchr(file->path, '/');
		char *parent wfs_autofree = NULL;

		if (i && !strcmp(m->files[i - 1].path, file->path))
			return wfs_err_set(err, -EBADMSG,
					   "%s: '%.200s' is listed twice", what,
					   file->path);
		if (__builtin_add_overflow(total, file->size, &total) ||
		    total > INT64_MAX)
			return wfs_err_set(err, -EBADMSG,
					   "%s: its files are too large", what);
		if (!slash)
			continue;
		parent = wfs_asprintf("%.*s", (int)(slash - file->path),
				      file->path);
		dir = wfs_manifest_find(m, parent);
		if (!dir || !dir->is_dir)
			return wfs_err_set(err, -EBADMSG,
					   "%s: '%.200s' is listed, its "
					   "directory is not",
					   what, file->path);
	}
	return 0;
}

static int by_path(const void *x, const void *y)
{
	const struct wfs_manifest_file *a = x, *b = y;

	return strcmp(a->path, b->path);
}

int wfs_manifest_check(struct wfs_manifest *manifest, const char *what,
		       struct wfs_err *err)
{
	qsort(manifest->files, manifest->count, sizeof(*manifest->files),
	      by_path);
	return check_tree(manifest, what, err);
}

struct wfs_manifest *wfs_manifest_get(struct wfs_manifest *manifest)
{
	atomic_fetch_add(&manifest->refs, 1);
	return manifest;
}

void wfs_manifest_put(struct wfs_manifest *manifest)
{
	if (!manifest || atomic_fetch_sub(&manifest->refs, 1) > 1)
		return;
	for (size_t i = 0; i < manifest->count; i++)
		free(manifest->files[i].path);
	free(manifest->files);
	wfs_proof_put(manifest->proof);
	wfs_workers_put(manifest->workers);
	free(manifest);
}
