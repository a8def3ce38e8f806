/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a layout: the base's own without its weights, and the parts.
 * Both lists are sorted, so they are merged; new files lie in the root.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/inner.h"

static bool ends_with(const char *name, const char *suffix)
{
	size_t len = strlen(name), tail = strlen(suffix);

	return len >= tail && !strcmp(name + len - tail, suffix);
}

/* Weights of the checkpoint, which the layout takes the place of. */
static bool is_weight(const struct wfs_model_entry *e)
{
	static const char *const suffixes[] = {
		".safetensors",
		".bin",
		".pt",
		".pth",
		".safetensors.index.json",
		".bin.index.json",
	};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (!e->is_dir && !e->parent && ends_with(e->name, suffixes[i]))
			return true;
	return false;
}

static int by_part_name(const void *a, const void *b, void *ctx)
{
	const struct wfs_layout *layout = ctx;

	return strcmp(layout->parts[*(const uint32_t *)a].name,
		      layout->parts[*(const uint32_t *)b].name);
}

static void fill_part(const struct wfs_model *model, struct wfs_model_entry *e,
		      const struct wfs_part *part)
{
	memset(e, 0, sizeof(*e));
	e->name = e->path = part->name;
	e->st.st_mode = S_IFREG | 0444;
	e->st.st_nlink = 1;
	e->st.st_size = (off_t)part->size;
	e->st.st_blksize = 4096;
	e->st.st_blocks = (blkcnt_t)((part->size + 511) / 512);
	e->st.st_mtim = e->st.st_ctim = e->st.st_atim = model->mtime;
}

/* Entries in order; `map` from the base's to the new ones. */
static void merge(struct wfs_layout *layout, struct wfs_model *model,
		  const uint32_t *order, uint32_t *map)
{
	const struct wfs_model *base = layout->base;
	const struct wfs_model_dir *root = &base->dirs[0];
	uint32_t from = 1, next = 0, n = 1;

	model->entries[0] = base->entries[0];
	while (from < base->entry_count || next < layout->part_count) {
		const struct wfs_model_entry *e = &base->entries[from];
		bool own = from < base->entry_count;
		bool in_root = own && from < root->first + root->count &&
			       from >= root->first;
		struct wfs_part *part = next < layout->part_count ?
						&layout->parts[order[next]] :
						NULL;

		if (own && is_weight(e)) {
			from++;
			continue;
		}
		if (part && (!in_root || strcmp(part->name, e->name) < 0)) {
			fill_part(model, &model->entries[n], part);
			layout->part_of_entry[n] = order[next++] + 1;
			part->entry = n;
			model->file_bytes += part->size;
		} else {
			model->entries[n] = *e;
			model->file_bytes += e->region ? e->region->size : 0;
			map[from++] = n;
		}
		n++;
	}
	model->entry_count = n;
}

static void link_dirs(struct wfs_layout *layout, struct wfs_model *model,
		      const uint32_t *map)
{
	const struct wfs_model *base = layout->base;

	model->dir_count = base->dir_count;
	model->dirs = wfs_calloc(model->dir_count, sizeof(*model->dirs));
	for (uint32_t i = 1; i < model->entry_count; i++)
		if (!layout->part_of_entry[i])
			model->entries[i].parent =
				map[model->entries[i].parent];
	for (uint32_t d = 0; d < model->dir_count; d++) {
		struct wfs_model_dir *dir = &model->dirs[d];

		dir->entry = map[base->dirs[d].entry];
		for (uint32_t i = 1; i < model->entry_count; i++) {
			if (model->entries[i].parent != dir->entry)
				continue;
			if (!dir->count++)
				dir->first = i;
		}
	}
}

int wfs_layout_files(struct wfs_layout *layout, struct wfs_model *model,
		     struct wfs_err *err)
{
	const struct wfs_model *base = layout->base;
	size_t most = (size_t)base->entry_count + layout->part_count;
	uint32_t *order wfs_autofree =
		wfs_calloc((size_t)layout->part_count + 1, sizeof(*order));
	uint32_t *map wfs_autofree =
		wfs_calloc(base->entry_count, sizeof(*map));

	if (most > WFS_MODEL_MAX_ENTRIES)
		return wfs_err_set(err, -E2BIG,
				   "model '%s': %u parts, with its own files "
				   "more than %u: take a larger part size",
				   model->name, layout->part_count,
				   WFS_MODEL_MAX_ENTRIES);
	for (uint32_t i = 0; i < layout->part_count; i++)
		order[i] = i;
	qsort_r(order, layout->part_count, sizeof(*order), by_part_name,
		layout);
	model->entries = wfs_calloc(most, sizeof(*model->entries));
	layout->part_of_entry =
		wfs_calloc(most, sizeof(*layout->part_of_entry));
	merge(layout, model, order, map);
	link_dirs(layout, model, map);
	for (uint32_t i = 0; i < layout->part_count; i++) {
		const struct wfs_part *p = &layout->parts[i];
		struct wfs_rank *rank = &model->ranks[p->rank];

		for (uint32_t t = 0; t < p->count; t++)
			rank->tensors[rank->file_order[p->first + t]].shard =
				p->entry;
	}
	for (uint32_t i = 0; i < model->rank_count; i++) {
		if (wfs_model_find_entry(model, 0, model->ranks[i].name) < 0)
			continue;
		model->ranks_hidden = true;
	}
	if (model->ranks_hidden &&
	    wfs_model_find_entry(model, 0, ".ranks") >= 0)
		return wfs_err_set(err, -EEXIST,
				   "model '%s': has entries '.ranks' and one "
				   "named as a rank: no name is left for its "
				   "ranks",
				   model->name);
	return 0;
}
