/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of each rank, sorted by file name.
 *
 * The headers come sorted, so sorting a rank is merging them.  Sorted names
 * that meet show a tensor in two files, or two names with one escaped form;
 * and an index, sorted too, is compared with them in one pass.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/load.h"
#include "core/model/names.h"

/* One rank while it is put together; arrays are indexed by serial number. */
struct gather {
	struct wfs_load *load;
	struct wfs_shard *shards; /* of this rank */
	uint32_t shard_count;
	struct wfs_safetensor **from;
	uint32_t *shard;      /* index in shards */
	struct wfs_key *keys; /* file names; tag: serial number */
	uint32_t count;
};

static const char *file_of(const struct gather *g, uint32_t serial)
{
	const struct wfs_shard *s = &g->shards[g->shard[serial]];

	return g->load->model->entries[s->entry].path;
}

/* What a tensor's file is called; the name itself wherever it can be. */
static void file_name_of(struct gather *g, const struct wfs_safetensor *t,
			 struct wfs_key *key)
{
	char escaped[WFS_FILE_NAME_MAX + 1];

	key->s = t->name;
	key->len = t->name_len;
	if (wfs_name_is_plain(t->name, t->name_len))
		return;
	key->len = (uint32_t)wfs_name_escape(t->name, t->name_len, escaped);
	key->s = wfs_pool_text(&g->load->pool, escaped, key->len);
}

static uint64_t count_tensors(const struct gather *g)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < g->shard_count; i++)
		count += g->shards[i].header.count;
	return count;
}

static void number(struct gather *g, uint64_t count)
{
	uint32_t serial = 0;

	g->count = (uint32_t)count;
	g->from = wfs_calloc(count + 1, sizeof(*g->from));
	g->shard = wfs_calloc(count + 1, sizeof(*g->shard));
	g->keys = wfs_calloc(count + 1, sizeof(*g->keys));
	for (uint32_t i = 0; i < g->shard_count; i++) {
		struct wfs_safetensors *h = &g->shards[i].header;

		for (uint32_t t = 0; t < h->count; t++, serial++) {
			g->from[serial] = &h->tensors[t];
			g->shard[serial] = i;
			g->keys[serial].tag = serial;
			file_name_of(g, &h->tensors[t], &g->keys[serial]);
		}
	}
}

static int check_distinct(const struct gather *g)
{
	size_t at = wfs_keys_repeated(g->keys, g->count);
	const struct wfs_safetensor *a, *b;
	uint32_t x, y;

	if (!at)
		return 0;
	x = g->keys[at - 1].tag;
	y = g->keys[at].tag;
	a = g->from[x];
	b = g->from[y];
	if (a->name_len == b->name_len &&
	    !memcmp(a->name, b->name, a->name_len))
		return wfs_err_set(g->load->err, -EBADMSG,
				   "'%s': tensor '%.120s' is in two files, "
				   "'%s' and '%s': remove one, or add an index "
				   "that names one",
				   g->load->model->source->label, a->name,
				   file_of(g, x), file_of(g, y));
	return wfs_err_set(g->load->err, -EBADMSG,
			   "'%s': names collide after escaping: '%.120s' in "
			   "'%s' and '%.120s' in '%s' are both '%.255s'",
			   g->load->model->source->label, a->name,
			   file_of(g, x), b->name, file_of(g, y),
			   g->keys[at].s);
}

/* The C string that the model keeps for a name. */
static const char *text_of(struct wfs_load *load,
			   const struct wfs_safetensor *t)
{
	char *text;

	if (!memchr(t->name, '\0', t->name_len))
		return t->name;
	text = wfs_pool_alloc(&load->pool, 2 * (size_t)t->name_len + 1, 0);
	wfs_name_to_text(t->name, t->name_len, text);
	return text;
}

static void fill_rank(struct gather *g, struct wfs_rank *rank)
{
	uint32_t *place wfs_autofree =
		wfs_calloc((size_t)g->count + 1, sizeof(*place));
	uint32_t serial = 0, next = 0;

	rank->count = g->count;
	rank->tensors =
		wfs_calloc((size_t)g->count + 1, sizeof(*rank->tensors));
	rank->file_order =
		wfs_calloc((size_t)g->count + 1, sizeof(*rank->file_order));
	for (uint32_t i = 0; i < g->count; i++) {
		struct wfs_tensor *t = &rank->tensors[i];
		const struct wfs_safetensor *from = g->from[g->keys[i].tag];

		place[g->keys[i].tag] = i;
		t->name = text_of(g->load, from);
		t->file_name = g->keys[i].s;
		t->shape = from->shape;
		t->off = from->off;
		t->size = from->size;
		t->shard = g->shards[g->shard[g->keys[i].tag]].entry;
		t->dtype = from->dtype;
		t->ndim = from->ndim;
		rank->bytes += from->size;
	}
	/* Serial numbers count file by file, in each by name. */
	for (uint32_t i = 0; i < g->shard_count; i++) {
		const struct wfs_safetensors *h = &g->shards[i].header;

		for (uint32_t t = 0; t < h->count; t++)
			rank->file_order[next++] =
				place[serial + h->file_order[t]];
		serial += h->count;
	}
}

static int gather_rank(struct wfs_load *load, uint32_t rank, uint32_t first,
		       uint32_t end)
{
	struct gather g = {
		.load = load,
		.shards = &load->shards[first],
		.shard_count = end - first,
	};
	uint64_t count = count_tensors(&g);
	int rc;

	if (count > WFS_MODEL_MAX_TENSORS)
		return wfs_err_set(load->err, -E2BIG,
				   "'%s': %" PRIu64 " tensors in rank %s, at "
				   "most %u can be served",
				   load->model->source->label, count,
				   load->model->ranks[rank].name,
				   WFS_MODEL_MAX_TENSORS);
	number(&g, count);
	wfs_keys_sort(g.keys, g.count);
	rc = check_distinct(&g);
	if (!rc)
		fill_rank(&g, &load->model->ranks[rank]);
	free(g.from);
	free(g.shard);
	free(g.keys);
	return rc;
}

/*
 * Where the tensor of an index is in the rank, or -1.  Both are sorted: it is
 * mostly the one at `guess`.
 */
static int64_t find_indexed(const struct wfs_rank *rank,
			    const struct wfs_key *key, uint32_t guess)
{
	char escaped[WFS_FILE_NAME_MAX + 1];
	const char *name = wfs_name_file(key->s, key->len, escaped);

	if (guess < rank->count &&
	    !strcmp(rank->tensors[guess].file_name, name))
		return guess;
	return wfs_rank_find(rank, name);
}

/*
 * Every tensor that the index names must be in the file that it says.  One
 * that a file has and the index does not name is served all the same:
 * loaders read it too.
 */
static int check_index(struct wfs_load *load)
{
	const struct wfs_model *m = load->model;
	const struct wfs_rank *rank = &m->ranks[0];
	const struct wfs_index *index = &load->index;
	int64_t at = -1;

	for (uint32_t i = 0; i < index->count; i++) {
		const struct wfs_key *key = &index->tensors[i];
		const char *file = index->files[index->file[key->tag]];

		at = find_indexed(rank, key, (uint32_t)(at + 1));
		if (at >= 0 &&
		    !strcmp(m->entries[rank->tensors[at].shard].path, file))
			continue;
		return wfs_err_set(load->err, -EBADMSG,
				   "'%s': says that tensor '%.120s' is in "
				   "'%.200s', which does not have it",
				   load->index_path, key->s, file);
	}
	return 0;
}

int wfs_load_ranks(struct wfs_load *load)
{
	struct wfs_model *m = load->model;
	uint32_t first = 0;

	/* Shards lie rank by rank. */
	for (uint32_t rank = 0; rank < m->rank_count; rank++) {
		uint32_t end = first;
		int rc;

		while (end < load->shard_count &&
		       load->shards[end].rank == rank)
			end++;
		rc = gather_rank(load, rank, first, end);
		if (rc)
			return rc;
		for (; first < end; first++)
			wfs_safetensors_clear(&load->shards[first].header);
		m->tensor_bytes += m->ranks[rank].bytes;
	}
	return load->index_path ? check_index(load) : 0;
}
