/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model from a source: the steps in order, and its life afterwards.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/load.h"
#include "core/model/names.h"

int wfs_model_name_check(const char *name, struct wfs_err *err)
{
	size_t len = strlen(name);

	if (!len)
		return wfs_err_set(err, -EINVAL, "a model's name is empty");
	if (len > WFS_FILE_NAME_MAX)
		return wfs_err_set(err, -ENAMETOOLONG,
				   "model name '%.64s…' is longer than %d "
				   "bytes",
				   name, WFS_FILE_NAME_MAX);
	if (strchr(name, '/'))
		return wfs_err_set(err, -EINVAL,
				   "model name '%s' holds a '/': a model is "
				   "one directory under the mount point",
				   name);
	if (!strcmp(name, ".") || !strcmp(name, "..") ||
	    !strcmp(name, ".weightfs"))
		return wfs_err_set(err, -EINVAL,
				   "model name '%s' is taken: choose another",
				   name);
	return 0;
}

/* Names of ranks beside the checkpoint's own: theirs give way. */
static int place_ranks(struct wfs_load *load)
{
	struct wfs_model *m = load->model;

	for (uint32_t i = 0; i < m->rank_count; i++) {
		if (wfs_model_find_entry(m, 0, m->ranks[i].name) < 0)
			continue;
		m->ranks_hidden = true;
		if (wfs_model_find_entry(m, 0, ".ranks") < 0)
			return 0;
		return wfs_err_set(load->err, -EEXIST,
				   "'%s': has entries '%s' and '.ranks': no "
				   "name is left for its ranks",
				   m->source->label, m->ranks[i].name);
	}
	return 0;
}

static void load_clear(struct wfs_load *load)
{
	for (uint32_t i = 0; i < load->shard_count; i++)
		wfs_safetensors_clear(&load->shards[i].header);
	free(load->shards);
	wfs_index_clear(&load->index);
	free(load->index_text);
	free(load->index_path);
	wfs_pool_clear(&load->pool);
}

static int load_all(struct wfs_load *load, unsigned threads)
{
	struct wfs_model *m = load->model;
	size_t count;
	const struct wfs_source_entry *list =
		wfs_source_list(m->source, &count);
	int rc = wfs_load_tree(load, list, count);

	if (!rc)
		rc = wfs_load_checkpoint(load);
	if (!rc)
		rc = place_ranks(load);
	if (!rc)
		rc = wfs_load_headers(load, threads);
	if (!rc)
		rc = wfs_load_ranks(load);
	if (!rc)
		m->fingerprint = wfs_model_fingerprint(m->name, list, count);
	return rc;
}

int wfs_model_load(struct wfs_source *source, const char *name,
		   unsigned threads, struct wfs_model **ret_model,
		   struct wfs_err *err)
{
	struct wfs_load load = { .err = err };
	int rc = wfs_model_name_check(name, err);

	if (rc)
		return rc;
	load.model = wfs_calloc(1, sizeof(*load.model));
	atomic_init(&load.model->refs, 1);
	load.model->name = wfs_strdup(name);
	load.model->source = wfs_source_get(source);
	rc = load_all(&load, threads);
	if (!rc) {
		struct wfs_pool *pool = wfs_calloc(1, sizeof(*pool));

		wfs_pool_join(pool, &load.pool);
		load.model->pool = pool;
		*ret_model = load.model;
	} else {
		wfs_model_put(load.model);
	}
	load_clear(&load);
	/* Parsing took several times what is kept. */
	wfs_mem_trim();
	return rc;
}

bool wfs_model_is_stale(const struct wfs_model *model)
{
	for (uint32_t i = 0; i < model->entry_count; i++) {
		struct wfs_region *region = model->entries[i].region;

		if (region && wfs_region_check(region))
			return true;
	}
	return false;
}

const char *wfs_model_format_name(enum wfs_model_format format)
{
	static const char *const names[] = {
		[WFS_FORMAT_HF] = "hf",
		[WFS_FORMAT_SHARDED_STATE] = "sharded_state",
		[WFS_FORMAT_OPAQUE] = "opaque",
	};

	return names[format];
}

struct wfs_model *wfs_model_get(struct wfs_model *model)
{
	atomic_fetch_add(&model->refs, 1);
	return model;
}

void wfs_model_put(struct wfs_model *model)
{
	if (!model || atomic_fetch_sub(&model->refs, 1) > 1)
		return;
	if (model->virtual)
		model->virtual->free(model);
	for (uint32_t i = 0; i < model->rank_count; i++) {
		free(model->ranks[i].tensors);
		free(model->ranks[i].file_order);
	}
	free(model->ranks);
	free(model->dirs);
	free(model->entries);
	if (model->pool)
		wfs_pool_clear(model->pool);
	free(model->pool);
	wfs_source_put(model->source);
	free(model->name);
	free(model);
}

void wfs_tensor_recipe(const struct wfs_model *model,
		       const struct wfs_tensor *tensor, struct wfs_piece *piece,
		       struct wfs_recipe *ret_recipe)
{
	memset(piece, 0, sizeof(*piece));
	piece->kind = WFS_PIECE_REGION;
	piece->region = model->entries[tensor->shard].region;
	piece->off = tensor->off;
	piece->run = piece->stride = tensor->size;
	piece->count = 1;
	*ret_recipe = (struct wfs_recipe){
		.size = tensor->size,
		.n = tensor->size ? 1 : 0,
		.pieces = piece,
	};
}
