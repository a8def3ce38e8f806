/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint's own files as a tree that is searched by halves.
 *
 * A listing is sorted by (directory, name), so that the children of each
 * directory lie together in byte order.  Listings will also come from other
 * nodes, so nothing in them is taken for granted.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/load.h"
#include "core/model/names.h"

static int by_path(const void *a, const void *b)
{
	const struct wfs_source_entry *const *x = a, *const *y = b;

	return wfs_path_compare((*x)->path, (*y)->path);
}

static int check_path(const struct wfs_load *load,
		      const struct wfs_source_entry *e)
{
	const char *label = load->model->source->label;

	if (S_ISDIR(e->st.st_mode) != !e->region)
		return wfs_err_set(load->err, -EINVAL,
				   "'%s/%.200s': listed as %s", label, e->path,
				   e->region ? "a directory with bytes" :
					       "a file without bytes");
	if (strlen(e->path) >= PATH_MAX)
		return wfs_err_set(load->err, -ENAMETOOLONG,
				   "'%s/%.200s…': path of more than %d bytes",
				   label, e->path, PATH_MAX);
	if (!wfs_name_is_path(e->path))
		return wfs_err_set(load->err, -EINVAL,
				   "'%s': '%.200s' is no path of a file in a "
				   "checkpoint",
				   label, e->path);
	return 0;
}

static void fill_entry(struct wfs_model *m, uint32_t at,
		       const struct wfs_source_entry *e)
{
	struct wfs_model_entry *entry = &m->entries[at];

	entry->path = e->path;
	entry->name = e->path + wfs_path_dir_len(e->path);
	entry->st = e->st;
	entry->region = e->region;
	entry->is_dir = !e->region;
	if (entry->is_dir) {
		m->dir_count++;
		return;
	}
	m->file_bytes += e->region->size;
	if (e->st.st_mtim.tv_sec > m->mtime.tv_sec ||
	    (e->st.st_mtim.tv_sec == m->mtime.tv_sec &&
	     e->st.st_mtim.tv_nsec > m->mtime.tv_nsec))
		m->mtime = e->st.st_mtim;
}

static void fill_root(struct wfs_model *m)
{
	struct wfs_model_entry *root = &m->entries[0];

	root->name = root->path = "";
	root->is_dir = true;
	root->st.st_mode = S_IFDIR | 0555;
	root->st.st_nlink = 2;
	root->st.st_mtim = root->st.st_ctim = root->st.st_atim = m->mtime;
}

/* Index of the directory whose path is path[0 … len), or -1. */
static int64_t find_dir_path(const struct wfs_model *m, const char *path,
			     size_t len)
{
	char dir[PATH_MAX];
	int64_t at;

	if (!len)
		return 0;
	if (len >= sizeof(dir))
		return -1;
	memcpy(dir, path, len);
	dir[len] = '\0';
	at = wfs_model_find_path(m, dir);
	return at >= 0 && m->entries[at].is_dir ? at : -1;
}

/* Runs of entries with the same directory become its children. */
static int link_children(struct wfs_load *load)
{
	struct wfs_model *m = load->model;
	uint32_t first = 1;

	while (first < m->entry_count) {
		const char *path = m->entries[first].path;
		size_t len = wfs_path_dir_len(path);
		int64_t parent = find_dir_path(m, path, len ? len - 1 : 0);
		int64_t dir = parent < 0 ?
				      -1 :
				      wfs_model_find_dir(m, (uint32_t)parent);
		uint32_t end = first;

		if (dir < 0)
			return wfs_err_set(load->err, -EINVAL,
					   "'%s': '%.200s' is listed, its "
					   "directory is not",
					   m->source->label, path);
		while (end < m->entry_count &&
		       wfs_path_dir_len(m->entries[end].path) == len &&
		       !memcmp(m->entries[end].path, path, len))
			m->entries[end++].parent = (uint32_t)parent;
		m->dirs[dir].first = first;
		m->dirs[dir].count = end - first;
		first = end;
	}
	return 0;
}

int wfs_load_tree(struct wfs_load *load, const struct wfs_source_entry *list,
		  size_t count)
{
	struct wfs_model *m = load->model;
	const struct wfs_source_entry **sorted wfs_autofree =
		wfs_calloc(count + 1, sizeof(*sorted));
	uint32_t dir = 0;

	if (count >= WFS_MODEL_MAX_ENTRIES)
		return wfs_err_set(load->err, -E2BIG,
				   "'%s': %zu files and directories, at most "
				   "%u can be served",
				   m->source->label, count,
				   WFS_MODEL_MAX_ENTRIES - 1);
	for (size_t i = 0; i < count; i++) {
		int rc = check_path(load, &list[i]);

		if (rc)
			return rc;
		sorted[i] = &list[i];
	}
	qsort(sorted, count, sizeof(*sorted), by_path);
	m->entries = wfs_calloc(count + 1, sizeof(*m->entries));
	m->entry_count = (uint32_t)count + 1;
	m->dir_count = 1;
	for (size_t i = 0; i < count; i++) {
		if (i && !strcmp(sorted[i - 1]->path, sorted[i]->path))
			return wfs_err_set(load->err, -EINVAL,
					   "'%s': '%.200s' is listed twice",
					   m->source->label, sorted[i]->path);
		fill_entry(m, (uint32_t)i + 1, sorted[i]);
	}
	fill_root(m);
	m->dirs = wfs_calloc(m->dir_count, sizeof(*m->dirs));
	for (uint32_t i = 0; i < m->entry_count; i++)
		if (m->entries[i].is_dir)
			m->dirs[dir++].entry = i;
	return link_children(load);
}
