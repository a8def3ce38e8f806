/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a checkpoint hold tensors, and of which rank.
 *
 * Only the checkpoint's own directory is looked at: what lies in
 * sub-directories (a diffusion pipeline's parts, an earlier step) belongs to
 * something else.  In this order:
 *
 *   1. files named as sharded_state names them: they are the ranks.  An index
 *      beside them is the original checkpoint's, dumps copy it along.
 *   2. an index: the files it names are rank 0.  Other safetensors files (a
 *      `consolidated.safetensors`) are the same weights again, or others.
 *   3. all safetensors files are rank 0.
 *   4. weights in other formats or places: files only.
 *
 * One line of the log says what was not taken apart.
 */
#include <errno.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/model/load.h"
#include "core/model/sharded_state.h"

#define SAFETENSORS ".safetensors"
#define INDEX	    SAFETENSORS ".index.json"

/* What the files of a checkpoint are, as far as their names tell. */
struct kinds {
	uint32_t *plain; /* safetensors files of no sharded_state name */
	uint32_t plain_count;
	struct wfs_sharded_name *sharded; /* tag: entry */
	uint32_t sharded_count;
	int64_t index;	  /* the index that counts, or -1 */
	uint32_t indexes; /* how many there are */
	int64_t other;	  /* the first weight file that is not taken apart */
	uint32_t others;
};

static bool ends_with(const char *name, const char *suffix)
{
	/* A hidden file (".model.safetensors.part") is nobody's weights. */
	return name[0] != '.' && wfs_ends_with(name, suffix);
}

static bool is_other_weights(const char *name)
{
	static const char *const suffixes[] = {
		".bin",	 ".pt",	  ".pth", ".ckpt",    ".gguf",
		".ggml", ".onnx", ".h5",  ".msgpack", ".npz",
	};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (ends_with(name, suffixes[i]))
			return true;
	return false;
}

/* "model.safetensors.index.json" counts, else the shortest name. */
static bool index_is_better(const char *name, const char *than)
{
	static const char usual[] = "model" INDEX;

	if (!strcmp(than, usual) || !strcmp(name, usual))
		return !strcmp(name, usual);
	return strlen(name) < strlen(than);
}

static void sort_out_root(const struct wfs_model *m, uint32_t at,
			  struct kinds *k)
{
	const char *name = m->entries[at].name;
	struct wfs_sharded_name *sharded = &k->sharded[k->sharded_count];

	sharded->tag = at;
	if (!wfs_sharded_parse(name, sharded)) {
		k->sharded_count++;
	} else if (ends_with(name, SAFETENSORS)) {
		k->plain[k->plain_count++] = at;
	} else if (ends_with(name, INDEX)) {
		k->indexes++;
		if (k->index < 0 ||
		    index_is_better(name, m->entries[k->index].name))
			k->index = at;
	} else if (is_other_weights(name)) {
		k->other = k->others++ ? k->other : (int64_t)at;
	}
}

static void sort_out(const struct wfs_model *m, struct kinds *k)
{
	memset(k, 0, sizeof(*k));
	k->index = k->other = -1;
	k->plain = wfs_calloc(m->entry_count, sizeof(*k->plain));
	k->sharded = wfs_calloc(m->entry_count, sizeof(*k->sharded));
	for (uint32_t i = 1; i < m->entry_count; i++) {
		const struct wfs_model_entry *e = &m->entries[i];

		if (e->is_dir)
			continue;
		if (!e->parent)
			sort_out_root(m, i, k);
		else if (ends_with(e->name, SAFETENSORS) ||
			 is_other_weights(e->name))
			k->other = k->others++ ? k->other : (int64_t)i;
	}
}

static void kinds_clear(struct kinds *k)
{
	free(k->plain);
	free(k->sharded);
}

static void add_shard(struct wfs_load *load, uint32_t entry, uint32_t rank)
{
	struct wfs_shard *s = &load->shards[load->shard_count++];

	s->entry = entry;
	s->rank = rank;
}

static void add_rank(struct wfs_load *load, const char *name)
{
	load->model->ranks[load->model->rank_count++].name =
		wfs_pool_text(&load->pool, name, strlen(name));
}

static int use_sharded(struct wfs_load *load, struct kinds *k)
{
	struct wfs_model *m = load->model;
	uint32_t ranks;
	int rc = wfs_sharded_arrange(k->sharded, k->sharded_count,
				     m->source->live != NULL, m->source->label,
				     &ranks, load->err);

	if (rc)
		return rc;
	if (ranks > WFS_MODEL_MAX_RANKS)
		return wfs_err_set(load->err, -E2BIG,
				   "'%s': %u ranks, at most %u can be served",
				   m->source->label, ranks,
				   WFS_MODEL_MAX_RANKS);
	m->format = WFS_FORMAT_SHARDED_STATE;
	m->ranks = wfs_calloc(ranks, sizeof(*m->ranks));
	load->shards = wfs_calloc(k->sharded_count, sizeof(*load->shards));
	for (uint32_t i = 0; i < k->sharded_count; i++) {
		struct wfs_sharded_name *n = &k->sharded[i];
		char name[64];

		add_shard(load, n->tag, n->rank);
		if (n->rank < m->rank_count)
			continue;
		wfs_sharded_rank_name(n, name, sizeof(name));
		add_rank(load, name);
	}
	return 0;
}

static void use_rank_0(struct wfs_load *load, uint32_t files)
{
	load->model->format = WFS_FORMAT_HF;
	load->model->ranks = wfs_calloc(1, sizeof(*load->model->ranks));
	load->shards = wfs_calloc(files, sizeof(*load->shards));
	add_rank(load, "0");
}

static int read_index(struct wfs_load *load, struct wfs_region *region)
{
	int rc;

	load->index_path =
		wfs_asprintf("%s/%s", load->model->source->label, region->path);
	if (region->size > WFS_INDEX_MAX)
		return wfs_err_set(load->err, -EFBIG,
				   "'%s': more than %u bytes: no index",
				   load->index_path, WFS_INDEX_MAX);
	load->index_text = wfs_malloc(region->size + WFS_JSON_PADDING);
	rc = wfs_region_read_parsed(region, load->index_text, region->size, 0);
	if (rc)
		return wfs_err_set(load->err, rc, "cannot read '%s': %s",
				   load->index_path, strerror(-rc));
	return wfs_index_parse(load->index_text, region->size, load->index_path,
			       &load->index, load->err);
}

/* The files of the index in the order of the entries, each once. */
static int use_index(struct wfs_load *load, struct kinds *k)
{
	struct wfs_model *m = load->model;
	const struct wfs_index *index = &load->index;
	bool *named wfs_autofree = wfs_calloc(m->entry_count, sizeof(*named));
	int rc = read_index(load, m->entries[k->index].region);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < index->file_count; i++) {
		int64_t at = wfs_model_find_path(m, index->files[i]);

		if (at < 0 || m->entries[at].is_dir)
			return wfs_err_set(load->err, -ENOENT,
					   "'%s': names the file '%.200s', "
					   "which is missing; fetch it, or "
					   "remove the index",
					   load->index_path, index->files[i]);
		named[at] = true;
	}
	use_rank_0(load, index->file_count);
	for (uint32_t i = 0; i < m->entry_count; i++)
		if (named[i])
			add_shard(load, i, 0);
	return 0;
}

/* Weights that nothing has taken apart: one line says so. */
static void tell_the_rest(const struct wfs_load *load, const struct kinds *k)
{
	const struct wfs_model *m = load->model;
	bool *used wfs_autofree = wfs_calloc(m->entry_count, sizeof(*used));
	uint32_t rest = k->others;
	int64_t first = k->other;

	for (uint32_t i = 0; i < load->shard_count; i++)
		used[load->shards[i].entry] = true;
	for (uint32_t i = 0; i < k->plain_count; i++)
		if (!used[k->plain[i]])
			first = rest++ ? first : (int64_t)k->plain[i];
	if (load->index_path && k->indexes > 1)
		wfs_info("model '%s': the index '%s' counts, others are "
			 "served as files",
			 m->name, m->entries[k->index].path);
	if (rest)
		wfs_info("model '%s': the tensors of '%s'%s are not taken "
			 "apart, the files are served as they are files=%u",
			 m->name, m->entries[first].path,
			 rest > 1 ? " and others" : "", rest);
}

int wfs_load_checkpoint(struct wfs_load *load)
{
	struct wfs_model *m = load->model;
	struct kinds k;
	int rc = 0;

	sort_out(m, &k);
	if (k.sharded_count) {
		rc = use_sharded(load, &k);
	} else if (k.index >= 0) {
		rc = use_index(load, &k);
	} else if (k.plain_count) {
		use_rank_0(load, k.plain_count);
		for (uint32_t i = 0; i < k.plain_count; i++)
			add_shard(load, k.plain[i], 0);
	} else if (k.others) {
		m->format = WFS_FORMAT_OPAQUE;
	} else {
		rc = wfs_err_set(load->err, -ENOENT, "no weights in '%s'",
				 m->source->label);
	}
	if (!rc)
		tell_the_rest(load, &k);
	kinds_clear(&k);
	return rc;
}
