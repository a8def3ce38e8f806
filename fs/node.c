/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See node.h.
 */
#include "fs/node.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const control_names[WFS_CONTROL_END] = {
	[WFS_CONTROL_ROOT] = "",
	[WFS_CONTROL_DIR] = WFS_CONTROL_NAME,
	[WFS_CONTROL_STATUS] = "status.json",
	[WFS_CONTROL_STATS] = "stats",
	[WFS_CONTROL_EVENTS] = "events",
	[WFS_CONTROL_VERSION] = "version",
};

static bool is_valid(const struct wfs_node *node)
{
	const struct wfs_model *model = node->model;

	switch (node->kind) {
	case WFS_KIND_ENTRY:
		return node->rank == 0 && node->index < model->entry_count;
	case WFS_KIND_RANKS:
		return model->ranks_hidden && !node->rank && !node->index;
	case WFS_KIND_RANK:
		return node->rank < model->rank_count && node->index == 0;
	case WFS_KIND_TENSOR:
		return node->rank < model->rank_count &&
		       node->index < model->ranks[node->rank].count;
	case WFS_KIND_CONTROL:
	default:
		return false;
	}
}

int wfs_node_resolve(struct wfs_registry *reg, uint64_t id,
		     struct wfs_node *ret_node)
{
	struct wfs_node node = {
		.id = id,
		.slot = wfs_ino_slot(id),
		.kind = wfs_ino_field(id, WFS_KIND_SHIFT, WFS_KIND_BITS),
		.rank = wfs_ino_field(id, WFS_RANK_SHIFT, WFS_RANK_BITS),
		.index = wfs_ino_field(id, 0, WFS_INDEX_BITS),
	};

	if (node.slot == 0) {
		if (id < WFS_CONTROL_ROOT || id >= WFS_CONTROL_END)
			return -ESTALE;
		*ret_node = node;
		return 0;
	}
	node.model = wfs_registry_by_slot(reg, node.slot);
	if (!node.model)
		return -ESTALE;
	if (!is_valid(&node)) {
		wfs_node_clear(&node);
		return -ESTALE;
	}
	*ret_node = node;
	return 0;
}

void wfs_node_clear(struct wfs_node *node)
{
	wfs_model_put(node->model);
	node->model = NULL;
}

const struct wfs_tensor *wfs_node_tensor(const struct wfs_node *node)
{
	if (node->kind != WFS_KIND_TENSOR)
		return NULL;
	return &node->model->ranks[node->rank].tensors[node->index];
}

const struct wfs_model_entry *wfs_node_entry(const struct wfs_node *node)
{
	if (node->kind != WFS_KIND_ENTRY)
		return NULL;
	return &node->model->entries[node->index];
}

bool wfs_node_is_dir(const struct wfs_node *node)
{
	switch (node->kind) {
	case WFS_KIND_CONTROL:
		return node->index <= WFS_CONTROL_DIR;
	case WFS_KIND_ENTRY:
		return wfs_node_entry(node)->is_dir;
	case WFS_KIND_RANKS:
	case WFS_KIND_RANK:
		return true;
	case WFS_KIND_TENSOR:
	default:
		return false;
	}
}

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
		n += rows[i].named;
	wfs_registry_rows_free(rows, count);
	return n;
}

/* The sub-directories of a directory. */
static nlink_t sub_dirs(struct wfs_registry *reg, const struct wfs_node *node)
{
	const struct wfs_model *model = node->model;
	nlink_t n = 0;

	switch (node->kind) {
	case WFS_KIND_CONTROL:
		return node->index == WFS_CONTROL_ROOT ? 1 + count_models(reg) :
							 0;
	case WFS_KIND_ENTRY:
		n = count_dirs(model, wfs_model_find_dir(model, node->index));
		if (node->index == 0)
			n += model->ranks_hidden ? 1 : model->rank_count;
		return n;
	case WFS_KIND_RANKS:
		return model->rank_count;
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
		st.st_size = entry->is_dir ? 0 : (off_t)entry->region->size;
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

uint64_t wfs_node_parent(const struct wfs_node *node)
{
	const struct wfs_model_entry *entry = wfs_node_entry(node);

	switch (node->kind) {
	case WFS_KIND_ENTRY:
		if (node->index == 0)
			return WFS_CONTROL_ROOT;
		return wfs_ino_make(node->slot, WFS_KIND_ENTRY, 0,
				    entry->parent);
	case WFS_KIND_RANK:
		return wfs_ino_make(node->slot,
				    node->model->ranks_hidden ? WFS_KIND_RANKS :
								WFS_KIND_ENTRY,
				    0, 0);
	case WFS_KIND_RANKS:
		return wfs_ino_make(node->slot, WFS_KIND_ENTRY, 0, 0);
	case WFS_KIND_TENSOR:
		return wfs_ino_make(node->slot, WFS_KIND_RANK, node->rank, 0);
	case WFS_KIND_CONTROL:
	default:
		return node->index > WFS_CONTROL_DIR ? WFS_CONTROL_DIR :
						       WFS_CONTROL_ROOT;
	}
}

const char *wfs_node_name(const struct wfs_node *node)
{
	switch (node->kind) {
	case WFS_KIND_ENTRY:
		return node->index == 0 ? node->model->name :
					  wfs_node_entry(node)->name;
	case WFS_KIND_RANK:
		return node->model->ranks[node->rank].name;
	case WFS_KIND_RANKS:
		return WFS_RANKS_NAME;
	case WFS_KIND_TENSOR:
		return wfs_node_tensor(node)->file_name;
	case WFS_KIND_CONTROL:
	default:
		return control_names[node->index];
	}
}

void wfs_node_recipe(const struct wfs_node *node, struct wfs_piece *piece,
		     struct wfs_recipe *ret_recipe)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);
	struct wfs_region *region;

	if (tensor) {
		wfs_tensor_recipe(node->model, tensor, piece, ret_recipe);
		return;
	}
	region = wfs_node_entry(node)->region;
	*piece = (struct wfs_piece){
		.kind = WFS_PIECE_REGION,
		.region = region,
		.run = region->size,
		.count = 1,
	};
	*ret_recipe = (struct wfs_recipe){
		.size = region->size,
		.n = region->size > 0,
		.pieces = piece,
	};
}

uint64_t wfs_node_size(const struct wfs_node *node)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);
	const struct wfs_model_entry *entry = wfs_node_entry(node);

	if (tensor)
		return tensor->size;
	return entry && entry->region ? entry->region->size : 0;
}

struct wfs_region *wfs_node_region(const struct wfs_node *node)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);

	if (tensor)
		return node->model->entries[tensor->shard].region;
	return node->kind == WFS_KIND_ENTRY ? wfs_node_entry(node)->region :
					      NULL;
}

/* A child in the same model, with its own reference. */
static int child_in(const struct wfs_node *dir, enum wfs_kind kind,
		    uint32_t rank, int64_t index, struct wfs_node *ret_child)
{
	if (index < 0)
		return -ENOENT;
	*ret_child = (struct wfs_node){
		.id = wfs_ino_make(dir->slot, kind, rank, (uint32_t)index),
		.kind = kind,
		.slot = dir->slot,
		.rank = rank,
		.index = (uint32_t)index,
		.model = wfs_model_get(dir->model),
	};
	return 0;
}

static int child_control(uint32_t index, struct wfs_node *ret_child)
{
	*ret_child = (struct wfs_node){ .id = index, .index = index };
	return 0;
}

static int lookup_control(struct wfs_registry *reg, const struct wfs_node *dir,
			  const char *name, struct wfs_node *ret_child)
{
	struct wfs_node node = { .kind = WFS_KIND_ENTRY };

	if (dir->index == WFS_CONTROL_DIR) {
		for (uint32_t i = WFS_CONTROL_STATUS; i < WFS_CONTROL_END; i++)
			if (strcmp(name, control_names[i]) == 0)
				return child_control(i, ret_child);
		return -ENOENT;
	}
	if (dir->index != WFS_CONTROL_ROOT)
		return -ENOTDIR;
	if (strcmp(name, WFS_CONTROL_NAME) == 0)
		return child_control(WFS_CONTROL_DIR, ret_child);
	node.model = wfs_registry_by_name(reg, name, &node.slot);
	if (!node.model)
		return -ENOENT;
	node.id = wfs_ino_make(node.slot, WFS_KIND_ENTRY, 0, 0);
	*ret_child = node;
	return 0;
}

static int lookup_rank(const struct wfs_node *dir, const char *name,
		       struct wfs_node *ret_child)
{
	int64_t rank = wfs_model_find_rank(dir->model, name);

	if (rank < 0)
		return -ENOENT;
	return child_in(dir, WFS_KIND_RANK, (uint32_t)rank, 0, ret_child);
}

static int lookup_entry(const struct wfs_node *dir, const char *name,
			struct wfs_node *ret_child)
{
	const struct wfs_model *model = dir->model;
	int64_t d = wfs_model_find_dir(model, dir->index);

	if (d < 0)
		return -ENOTDIR;
	if (dir->index == 0 && model->ranks_hidden &&
	    strcmp(name, WFS_RANKS_NAME) == 0)
		return child_in(dir, WFS_KIND_RANKS, 0, 0, ret_child);
	if (dir->index == 0 && !model->ranks_hidden &&
	    lookup_rank(dir, name, ret_child) == 0)
		return 0;
	return child_in(dir, WFS_KIND_ENTRY, 0,
			wfs_model_find_entry(model, (uint32_t)d, name),
			ret_child);
}

int wfs_node_lookup(struct wfs_registry *reg, const struct wfs_node *dir,
		    const char *name, struct wfs_node *ret_child)
{
	switch (dir->kind) {
	case WFS_KIND_CONTROL:
		return lookup_control(reg, dir, name, ret_child);
	case WFS_KIND_ENTRY:
		return lookup_entry(dir, name, ret_child);
	case WFS_KIND_RANKS:
		return lookup_rank(dir, name, ret_child);
	case WFS_KIND_RANK:
		return child_in(dir, WFS_KIND_TENSOR, dir->rank,
				wfs_rank_find(&dir->model->ranks[dir->rank],
					      name),
				ret_child);
	case WFS_KIND_TENSOR:
	default:
		return -ENOTDIR;
	}
}

void wfs_node_iter_open(struct wfs_node_iter *it, struct wfs_registry *reg,
			const struct wfs_node *dir, uint64_t from)
{
	*it = (struct wfs_node_iter){ .reg = reg, .dir = dir, .next = from };
	if (dir->kind == WFS_KIND_CONTROL && dir->index == WFS_CONTROL_ROOT)
		it->row_count = wfs_registry_rows(reg, &it->rows);
}

void wfs_node_iter_close(struct wfs_node_iter *it)
{
	wfs_registry_rows_free(it->rows, it->row_count);
}

/* The root: .weightfs, then the models by name. */
static bool step_root(struct wfs_node_iter *it, struct wfs_node *child)
{
	uint64_t at = 1;

	if (it->next == 0) {
		*child = (struct wfs_node){ .id = WFS_CONTROL_DIR,
					    .index = WFS_CONTROL_DIR };
		return true;
	}
	for (size_t i = 0; i < it->row_count; i++) {
		struct wfs_registry_row *row = &it->rows[i];

		if (!row->named || at++ < it->next)
			continue;
		*child = (struct wfs_node){
			.id = wfs_ino_make(row->slot, WFS_KIND_ENTRY, 0, 0),
			.kind = WFS_KIND_ENTRY,
			.slot = row->slot,
			.model = row->model,
		};
		return true;
	}
	return false;
}

static void fill_child(const struct wfs_node *dir, enum wfs_kind kind,
		       uint32_t rank, uint32_t index, struct wfs_node *child)
{
	*child = (struct wfs_node){
		.id = wfs_ino_make(dir->slot, kind, rank, index),
		.kind = kind,
		.slot = dir->slot,
		.rank = rank,
		.index = index,
		.model = dir->model,
	};
}

/* A directory of the checkpoint; in its root the ranks follow. */
static bool step_entry(struct wfs_node_iter *it, struct wfs_node *child)
{
	const struct wfs_node *dir = it->dir;
	const struct wfs_model *model = dir->model;
	int64_t d = wfs_model_find_dir(model, dir->index);
	uint64_t at = it->next;

	if (d < 0)
		return false;
	if (at < model->dirs[d].count) {
		fill_child(dir, WFS_KIND_ENTRY, 0,
			   model->dirs[d].first + (uint32_t)at, child);
		return true;
	}
	at -= model->dirs[d].count;
	if (dir->index != 0 || model->rank_count == 0)
		return false;
	if (model->ranks_hidden && at == 0) {
		fill_child(dir, WFS_KIND_RANKS, 0, 0, child);
		return true;
	}
	if (model->ranks_hidden || at >= model->rank_count)
		return false;
	fill_child(dir, WFS_KIND_RANK, (uint32_t)at, 0, child);
	return true;
}

static bool step_any(struct wfs_node_iter *it, struct wfs_node *child)
{
	const struct wfs_node *dir = it->dir;
	uint64_t at = it->next;

	switch (dir->kind) {
	case WFS_KIND_CONTROL:
		if (dir->index == WFS_CONTROL_ROOT)
			return step_root(it, child);
		if (at + WFS_CONTROL_STATUS >= WFS_CONTROL_END)
			return false;
		child_control((uint32_t)at + WFS_CONTROL_STATUS, child);
		return true;
	case WFS_KIND_ENTRY:
		return step_entry(it, child);
	case WFS_KIND_RANKS:
		if (at >= dir->model->rank_count)
			return false;
		fill_child(dir, WFS_KIND_RANK, (uint32_t)at, 0, child);
		return true;
	case WFS_KIND_RANK:
		if (at >= dir->model->ranks[dir->rank].count)
			return false;
		fill_child(dir, WFS_KIND_TENSOR, dir->rank, (uint32_t)at,
			   child);
		return true;
	case WFS_KIND_TENSOR:
	default:
		return false;
	}
}

bool wfs_node_iter_step(struct wfs_node_iter *it, struct wfs_node *ret_child,
			const char **ret_name)
{
	if (!step_any(it, ret_child))
		return false;
	it->next++;
	*ret_name = wfs_node_name(ret_child);
	return true;
}
