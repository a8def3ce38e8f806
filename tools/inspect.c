/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over the tensors of a model, and the tables that people read.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/base/text.h"
#include "tools/inspect.h"
#include "tools/grid.h"

static uint64_t elements(const struct wfs_tensor *t)
{
	uint64_t n = 1;

	/* The product fits: the loader has multiplied it. */
	for (unsigned i = 0; i < t->ndim; i++)
		n *= t->shape[i];
	return n;
}

static void add(struct wfs_inspect_sum *sum, const struct wfs_tensor *t)
{
	sum->tensors++;
	sum->elements += elements(t);
	sum->bytes += t->size;
}

void wfs_inspect_add_up(struct wfs_inspect *in)
{
	const struct wfs_model *m = in->model;

	in->file = wfs_calloc(m->entry_count, sizeof(*in->file));
	for (uint32_t i = 0; i < m->entry_count; i++)
		in->files += !m->entries[i].is_dir;
	for (uint32_t r = 0; r < m->rank_count; r++) {
		for (uint32_t i = 0; i < m->ranks[r].count; i++) {
			const struct wfs_tensor *t = &m->ranks[r].tensors[i];

			add(&in->all, t);
			add(&in->dtype[t->dtype], t);
			add(&in->file[t->shard], t);
		}
	}
}

void wfs_inspect_clear(struct wfs_inspect *in)
{
	free(in->file);
	in->file = NULL;
}

static void add_heads(struct wfs_grid *table, const char *const *heads,
		      size_t count)
{
	for (size_t i = 0; i < count; i++)
		wfs_grid_add(table, "%s", heads[i]);
}

char *wfs_inspect_shape(const struct wfs_tensor *t)
{
	struct wfs_text text = { 0 };

	wfs_shape_add(&text, t->shape, t->ndim);
	return text.data;
}

static void add_shape(struct wfs_grid *table, const struct wfs_tensor *t)
{
	char *shape wfs_autofree = wfs_inspect_shape(t);

	wfs_grid_add(table, "%s", shape);
}

static void print_tensors(const struct wfs_inspect *in)
{
	static const char *const heads[] = { "RANK",  "TENSOR", "DTYPE",
					     "SHAPE", "BYTES",	"FILE" };
	const struct wfs_model *m = in->model;
	/* With one rank its number says nothing. */
	bool many = m->rank_count > 1;
	struct wfs_grid table = { .columns = many ? "llllrl" : "lllrl" };

	if (!in->all.tensors)
		return;
	add_heads(&table, many ? heads : heads + 1, many ? 6 : 5);
	for (uint32_t r = 0; r < m->rank_count; r++) {
		const struct wfs_rank *rank = &m->ranks[r];

		for (uint32_t i = 0; i < rank->count; i++) {
			const struct wfs_tensor *t = &rank->tensors[i];

			if (many)
				wfs_grid_add(&table, "%s", rank->name);
			wfs_grid_add(&table, "%s", t->name);
			wfs_grid_add(&table, "%s",
				     wfs_dtype_name((enum wfs_dtype)t->dtype));
			add_shape(&table, t);
			wfs_grid_add(&table, "%" PRIu64, t->size);
			wfs_grid_add(&table, "%s",
				     wfs_inspect_file(in, t->shard));
		}
	}
	wfs_grid_finish(&table, "", stdout);
	printf("\n");
}

static void print_ranks(const struct wfs_inspect *in)
{
	static const char *const heads[] = { "RANK", "TENSORS", "BYTES" };
	struct wfs_grid table = { .columns = "lrr" };

	if (in->model->rank_count < 2)
		return;
	add_heads(&table, heads, 3);
	for (uint32_t r = 0; r < in->model->rank_count; r++) {
		const struct wfs_rank *rank = &in->model->ranks[r];

		wfs_grid_add(&table, "%s", rank->name);
		wfs_grid_add(&table, "%" PRIu32, rank->count);
		wfs_grid_add_size(&table, rank->bytes);
	}
	wfs_grid_finish(&table, "", stdout);
	printf("\n");
}

static void add_sum(struct wfs_grid *table, const char *name,
		    const struct wfs_inspect_sum *sum)
{
	wfs_grid_add(table, "%s", name);
	wfs_grid_add(table, "%" PRIu64, sum->tensors);
	wfs_grid_add(table, "%" PRIu64, sum->elements);
	wfs_grid_add_size(table, sum->bytes);
}

/* Files that hold tensors, then element types, then all. */
static void print_sums(const struct wfs_inspect *in)
{
	static const char *const files[] = { "FILE", "TENSORS", "ELEMENTS",
					     "BYTES" };
	static const char *const dtypes[] = { "DTYPE", "TENSORS", "ELEMENTS",
					      "BYTES" };
	struct wfs_grid table = { .columns = "lrrr" };

	if (!in->model->rank_count)
		return;
	add_heads(&table, files, 4);
	for (uint32_t i = 0; i < in->model->entry_count; i++)
		if (in->file[i].tensors)
			add_sum(&table, wfs_inspect_file(in, i), &in->file[i]);
	wfs_grid_finish(&table, "", stdout);
	printf("\n");
	table = (struct wfs_grid){ .columns = "lrrr" };
	add_heads(&table, dtypes, 4);
	for (int d = 0; d < WFS_DTYPE_COUNT; d++)
		if (in->dtype[d].tensors)
			add_sum(&table, wfs_dtype_name((enum wfs_dtype)d),
				&in->dtype[d]);
	add_sum(&table, "total", &in->all);
	wfs_grid_finish(&table, "", stdout);
	printf("\n");
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

void wfs_inspect_print(const struct wfs_inspect *in, bool tensors)
{
	static const char *const what[] = {
		[WFS_FORMAT_HF] = "Hugging Face safetensors",
		[WFS_FORMAT_SHARDED_STATE] = "sharded_state",
		[WFS_FORMAT_OPAQUE] = "weights that are not taken apart",
	};
	const struct wfs_model *m = in->model;
	char bytes[32], shown[4096];

	if (tensors)
		print_tensors(in);
	print_ranks(in);
	print_sums(in);
	wfs_text_escape(in->path, shown, sizeof(shown));
	printf("'%s': %s, %" PRIu32 " rank%s, %" PRIu64 " tensor%s, %" PRIu32
	       " file%s of %s\n",
	       shown, what[m->format], m->rank_count, plural(m->rank_count),
	       in->all.tensors, plural(in->all.tensors), in->files,
	       plural(in->files),
	       wfs_size_format(m->file_bytes, bytes, sizeof(bytes)));
}
