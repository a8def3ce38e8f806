/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: children by name and in order, see node.h.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "fs/node.h"

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
	int r;

	if (dir->index == WFS_CONTROL_DIR) {
		for (uint32_t i = WFS_CONTROL_STATUS; i < WFS_CONTROL_END;
		     i++) {
			child_control(i, &node);
			if (strcmp(name, wfs_node_name(&node)) == 0)
				return child_control(i, ret_child);
		}
		return -ENOENT;
	}
	if (dir->index != WFS_CONTROL_ROOT)
		return -ENOTDIR;
	if (strcmp(name, WFS_CONTROL_NAME) == 0)
		return child_control(WFS_CONTROL_DIR, ret_child);
	r = wfs_registry_find(reg, name, false, &node.model, &node.slot);
	if (r < 0)
		return r;
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

/* The place of a name in the root's listing: after 0, that of .weightfs. */
static uint64_t place_of(const char *name)
{
	return 1 + (wfs_hash(name, strlen(name), WFS_HASH_SEED) >> 3);
}

/* The root: .weightfs, then the models, in an order that no other changes. */
static bool step_root(struct wfs_node_iter *it, struct wfs_node *child)
{
	struct wfs_registry_row *next = NULL;

	if (it->next == 0) {
		child_control(WFS_CONTROL_DIR, child);
		it->next = 1;
		return true;
	}
	for (size_t i = 0; i < it->row_count; i++) {
		struct wfs_registry_row *row = &it->rows[i];

		if (row->listed && place_of(row->name) >= it->next &&
		    (!next || place_of(row->name) < place_of(next->name)))
			next = row;
	}
	if (!next)
		return false;
	*child = (struct wfs_node){
		.id = wfs_ino_make(next->slot, WFS_KIND_ENTRY, 0, 0),
		.kind = WFS_KIND_ENTRY,
		.slot = next->slot,
		.model = next->model,
	};
	it->next = place_of(next->name) + 1;
	return true;
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

static bool step_position(struct wfs_node_iter *it, struct wfs_node *child)
{
	const struct wfs_node *dir = it->dir;
	uint64_t at = it->next;

	switch (dir->kind) {
	case WFS_KIND_CONTROL:
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
	bool there;

	if (it->dir->kind == WFS_KIND_CONTROL &&
	    it->dir->index == WFS_CONTROL_ROOT) {
		there = step_root(it, ret_child);
	} else {
		there = step_position(it, ret_child);
		it->next += there;
	}
	if (there)
		*ret_name = wfs_node_name(ret_child);
	return there;
}
