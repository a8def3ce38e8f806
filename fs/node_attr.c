/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of nodes, see node.h.
 */
#include <time.h>
#include <unistd.h>

#include "fs/node.h"

/* Who may read what: as at the source, less the right to write. */
static void attr_from(struct stat *st, const struct stat *source, bool is_dir)
{
	st->st_mode = is_dir ? S_IFDIR | (source->st_mode & 0555) :
			       S_IFREG | (source->st_mode & 0444);
	st->st_uid = source->st_uid;
	st->st_gid = source->st_gid;
	st->st_mtim = source->st_mtim;
}

static void attr_control(struct wfs_registry *reg, const struct wfs_node *node,
			 struct stat *st)
{
	bool is_dir = wfs_node_is_dir(node);

	st->st_mode = is_dir ? S_IFDIR | 0555 : S_IFREG | 0444;
	st->st_uid = geteuid();
	st->st_gid = getegid();
	if (is_dir)
		st->st_mtim = wfs_registry_changed(reg);
	else
		clock_gettime(CLOCK_REALTIME, &st->st_mtim);
}

static nlink_t count_dirs(const struct wfs_model *model, int64_t d)
{
	const struct wfs_model_entry *e = model->entries + model->dirs[d].first;
	nlink_t n = 0;

	for (uint32_t i = 0; i < model->dirs[d].count; i++)
		n += e[i].is_dir;
	return n;
}

static nlink_t count_models(struct wfs_registry *reg)
{
	struct wfs_registry_row *rows;
	size_t count = wfs_registry_rows(reg, &rows);
	nlink_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += rows[i].listed;
	wfs_registry_rows_free(rows, count);
	return n;
}

/* The sub-directories of a directory. */
static nlink_t sub_dirs(struct wfs_registry *reg, const struct wfs_node *node)
{
	const struct wfs_model *model = node->model;
	nlink_t n = 0;

	if (!model)
		return node->index == WFS_CONTROL_ROOT ? 1 + count_models(reg) :
							 0;
	switch (node->kind) {
	case WFS_KIND_ENTRY:
		n = count_dirs(model, wfs_model_find_dir(model, node->index));
		if (node->index == 0)
			n += model->ranks_hidden ? 1 : model->rank_count;
		return n;
	case WFS_KIND_RANKS:
		return model->rank_count;
	case WFS_KIND_CONTROL:
	case WFS_KIND_RANK:
	case WFS_KIND_TENSOR:
	default:
		return 0;
	}
}

void wfs_node_attr(struct wfs_registry *reg, const struct wfs_node *node,
		   struct stat *ret_st)
{
	const struct wfs_model *model = node->model;
	const struct wfs_tensor *tensor = wfs_node_tensor(node);
	const struct wfs_model_entry *entry = wfs_node_entry(node);
	struct stat st = { .st_ino = wfs_node_ino(node) };

	if (!model) {
		attr_control(reg, node, &st);
	} else if (tensor) {
		attr_from(&st, &model->entries[tensor->shard].st, false);
		st.st_size = (off_t)tensor->size;
	} else if (entry) {
		attr_from(&st, &entry->st, entry->is_dir);
		st.st_size = (off_t)wfs_node_size(node);
		if (node->index == 0)
			st.st_mtim = model->mtime;
	} else {
		attr_from(&st, &model->entries[0].st, true);
		st.st_mtim = model->mtime;
	}
	st.st_atim = st.st_mtim;
	st.st_ctim = st.st_mtim;
	st.st_nlink = S_ISDIR(st.st_mode) ? 2 + sub_dirs(reg, node) : 1;
	st.st_blksize = WFS_BLKSIZE;
	/* Always full: `tar -S` takes a small number for holes. */
	st.st_blocks = (st.st_size + 511) / 512;
	*ret_st = st;
}
