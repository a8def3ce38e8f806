/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both models have the tensors of a rank in byte order of their file names,
 * so comparing two ranks is one pass over both.  The bytes are read through
 * two small buffers, whatever the size of the tensor.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "tools/layout_arg.h"
#include "tools/layout_diff.h"

#define BUFFER_BYTES (1u << 20)

struct compare {
	const struct wfs_model *layout, *dump;
	struct wfs_layout_diff diff;
	char *buffers[2];
	struct wfs_err *err;
};

const char *wfs_layout_diff_name(enum wfs_layout_diff_kind kind)
{
	static const char *const names[] = {
		[WFS_DIFF_DTYPE] = "dtype", [WFS_DIFF_SHAPE] = "shape",
		[WFS_DIFF_BYTES] = "bytes", [WFS_DIFF_MISSING] = "missing",
		[WFS_DIFF_EXTRA] = "extra",
	};

	return names[kind];
}

static void add(struct compare *c, const struct wfs_layout_difference *row)
{
	struct wfs_layout_diff *d = &c->diff;

	d->kinds[row->kind]++;
	d->rows = wfs_realloc(d->rows, (d->count + 1) * sizeof(*d->rows));
	d->rows[d->count++] = *row;
}

static void add_lone(struct compare *c, const char *rank,
		     const struct wfs_tensor *layout,
		     const struct wfs_tensor *dump)
{
	struct wfs_layout_difference row = {
		.kind = layout ? WFS_DIFF_EXTRA : WFS_DIFF_MISSING,
		.rank = rank,
		.layout = layout,
		.dump = dump,
	};

	add(c, &row);
}

static int read_block(struct compare *c, const struct wfs_recipe *recipe,
		      unsigned which, size_t len, uint64_t off)
{
	ssize_t got = wfs_recipe_read(recipe, c->buffers[which], len, off);

	return got < 0 ? (int)got : (size_t)got == len ? 0 : -EIO;
}

/* 1 and the first byte that differs, 0 if none does, or a negative errno. */
static int compare_recipes(struct compare *c, const struct wfs_recipe *a,
			   const struct wfs_recipe *b, uint64_t *ret_at)
{
	for (uint64_t off = 0; off < a->size;) {
		size_t len = BUFFER_BYTES;
		size_t i = 0;
		int rc;

		if (len > a->size - off)
			len = (size_t)(a->size - off);
		rc = read_block(c, a, 0, len, off);
		if (!rc)
			rc = read_block(c, b, 1, len, off);
		if (rc)
			return rc;
		if (memcmp(c->buffers[0], c->buffers[1], len) != 0) {
			while (c->buffers[0][i] == c->buffers[1][i])
				i++;
			*ret_at = off + i;
			return 1;
		}
		off += len;
	}
	return 0;
}

static int compare_bytes(struct compare *c, uint32_t layout_rank,
			 uint32_t dump_rank, struct wfs_layout_difference *row)
{
	const struct wfs_rank *lr = &c->layout->ranks[layout_rank];
	const struct wfs_rank *dr = &c->dump->ranks[dump_rank];
	struct wfs_recipe *a = NULL, *b = NULL;
	int rc = wfs_recipe_of_tensor(c->layout, layout_rank,
				      (uint32_t)(row->layout - lr->tensors), &a,
				      c->err);

	if (!rc)
		rc = wfs_recipe_of_tensor(c->dump, dump_rank,
					  (uint32_t)(row->dump - dr->tensors),
					  &b, c->err);
	if (!rc) {
		rc = compare_recipes(c, a, b, &row->at);
		if (rc < 0)
			wfs_err_set(c->err, rc,
				    "cannot compare tensor '%s' of rank '%s': "
				    "%s",
				    row->layout->name, row->rank,
				    strerror(-rc));
	}
	wfs_recipe_free(a);
	wfs_recipe_free(b);
	return rc;
}

/* Of one name in both. */
static int compare_tensors(struct compare *c, uint32_t layout_rank,
			   uint32_t dump_rank, const struct wfs_tensor *a,
			   const struct wfs_tensor *b)
{
	struct wfs_layout_difference row = {
		.rank = c->layout->ranks[layout_rank].name,
		.layout = a,
		.dump = b,
	};
	int rc = 1;

	if (a->dtype != b->dtype) {
		row.kind = WFS_DIFF_DTYPE;
	} else if (!wfs_shape_equals(a->shape, a->ndim, b->shape, b->ndim)) {
		row.kind = WFS_DIFF_SHAPE;
	} else {
		row.kind = WFS_DIFF_BYTES;
		rc = compare_bytes(c, layout_rank, dump_rank, &row);
	}
	if (rc < 0)
		return rc;
	if (rc)
		add(c, &row);
	else
		c->diff.equal++;
	return 0;
}

static int compare_ranks(struct compare *c, uint32_t layout_rank,
			 uint32_t dump_rank)
{
	const struct wfs_rank *a = &c->layout->ranks[layout_rank];
	const struct wfs_rank *b = &c->dump->ranks[dump_rank];
	uint32_t i = 0, j = 0;

	while (i < a->count || j < b->count) {
		int rc, order;

		if (i == a->count)
			order = 1;
		else if (j == b->count)
			order = -1;
		else
			order = strcmp(a->tensors[i].file_name,
				       b->tensors[j].file_name);
		if (order < 0) {
			add_lone(c, a->name, &a->tensors[i++], NULL);
		} else if (order > 0) {
			add_lone(c, a->name, NULL, &b->tensors[j++]);
		} else {
			rc = compare_tensors(c, layout_rank, dump_rank,
					     &a->tensors[i++],
					     &b->tensors[j++]);
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* All tensors of a rank that only one of them has. */
static void add_rank(struct compare *c, const struct wfs_rank *rank,
		     bool is_layout)
{
	for (uint32_t i = 0; i < rank->count; i++)
		add_lone(c, rank->name, is_layout ? &rank->tensors[i] : NULL,
			 is_layout ? NULL : &rank->tensors[i]);
}

static int compare_models(struct compare *c)
{
	const struct wfs_model *l = c->layout, *d = c->dump;

	for (uint32_t r = 0; r < l->rank_count; r++) {
		int64_t other = wfs_model_find_rank(d, l->ranks[r].name);
		int rc = 0;

		if (other < 0)
			add_rank(c, &l->ranks[r], true);
		else
			rc = compare_ranks(c, r, (uint32_t)other);
		if (rc)
			return rc;
	}
	for (uint32_t r = 0; r < d->rank_count; r++)
		if (wfs_model_find_rank(l, d->ranks[r].name) < 0)
			add_rank(c, &d->ranks[r], false);
	return 0;
}

int wfs_layout_diff(const struct wfs_model *layout,
		    const struct wfs_model *dump,
		    struct wfs_layout_diff *ret_diff, struct wfs_err *err)
{
	struct compare c = { .layout = layout, .dump = dump, .err = err };
	int rc;

	for (unsigned i = 0; i < 2; i++)
		c.buffers[i] = wfs_malloc(BUFFER_BYTES);
	rc = compare_models(&c);
	for (unsigned i = 0; i < 2; i++)
		free(c.buffers[i]);
	if (rc)
		wfs_layout_diff_clear(&c.diff);
	else
		*ret_diff = c.diff;
	return rc;
}

void wfs_layout_diff_clear(struct wfs_layout_diff *diff)
{
	free(diff->rows);
	*diff = (struct wfs_layout_diff){ 0 };
}
