/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See node.h.
 */
#include "core/base/log.h"
#include "fs/node.h"

#include <errno.h>
#include <string.h>

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

static void slice_of(const struct wfs_node *node, struct wfs_node_recipe *ret)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);
	struct wfs_region *region;

	if (tensor) {
		wfs_tensor_recipe(node->model, tensor, &ret->piece,
				  &ret->slice);
		return;
	}
	region = wfs_node_region(node);
	if (!region) { /* no file: no bytes */
		ret->slice = (struct wfs_recipe){ 0 };
		return;
	}
	ret->piece = (struct wfs_piece){
		.kind = WFS_PIECE_REGION,
		.region = region,
		.run = region->size,
		.count = 1,
	};
	ret->slice = (struct wfs_recipe){
		.size = region->size,
		.n = region->size > 0,
		.pieces = &ret->piece,
	};
}

int wfs_node_recipe(const struct wfs_node *node, struct wfs_node_recipe *ret)
{
	const struct wfs_model_virtual *virtual = node->model->virtual;
	struct wfs_err err = { 0 };
	int r;

	ret->owned = NULL;
	if (!virtual || wfs_node_region(node)) {
		slice_of(node, ret);
		ret->recipe = &ret->slice;
		return 0;
	}
	if (node->kind == WFS_KIND_TENSOR)
		r = virtual->tensor(node->model, node->rank, node->index,
				    &ret->owned, &err);
	else
		r = virtual->entry(node->model, node->index, &ret->owned, &err);
	if (r < 0) {
		wfs_error("cannot put '%s' of '%s' together: %s",
			  wfs_node_name(node), node->model->name, err.text);
		return r;
	}
	ret->recipe = ret->owned;
	return 0;
}

void wfs_node_recipe_clear(struct wfs_node_recipe *recipe)
{
	wfs_recipe_free(recipe->owned);
	recipe->owned = NULL;
}

int wfs_node_check(const struct wfs_node *node)
{
	struct wfs_region *region = wfs_node_region(node);
	struct wfs_node_recipe recipe;
	int r;

	if (region)
		return wfs_region_check(region);
	r = wfs_node_recipe(node, &recipe);
	if (r == 0) {
		r = wfs_recipe_check_sources(recipe.recipe);
		wfs_node_recipe_clear(&recipe);
	}
	return r;
}

bool wfs_node_is_local(const struct wfs_node *node)
{
	struct wfs_region *region = wfs_node_region(node);
	const struct wfs_model *model = node->model;
	bool any = false;

	if (region)
		return wfs_region_descriptor(region) >= 0;
	/* Of another node's some may be lent to us, and others not. */
	for (uint32_t i = 0; i < model->entry_count; i++) {
		region = model->entries[i].region;
		if (!region || !region->size)
			continue;
		if (wfs_region_descriptor(region) < 0)
			return false;
		any = true;
	}
	return any;
}

int wfs_node_descriptor(const struct wfs_node *node)
{
	const struct wfs_model_entry *entry = wfs_node_entry(node);

	return entry && entry->region ? wfs_region_descriptor(entry->region) :
					-ENOTSUP;
}

uint64_t wfs_node_size(const struct wfs_node *node)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);
	const struct wfs_model_entry *entry = wfs_node_entry(node);

	if (tensor)
		return tensor->size;
	return entry && !entry->is_dir ? (uint64_t)entry->st.st_size : 0;
}

struct wfs_region *wfs_node_region(const struct wfs_node *node)
{
	const struct wfs_tensor *tensor = wfs_node_tensor(node);

	if (tensor)
		return node->model->virtual ?
			       NULL :
			       node->model->entries[tensor->shard].region;
	return node->kind == WFS_KIND_ENTRY ? wfs_node_entry(node)->region :
					      NULL;
}
