/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets become the tensors of ranks and the parts of files.  The ranks of
 * one stage have the same names, shapes, offsets and headers; only what their
 * bytes are put together from differs.  So they are made together; in an
 * uneven layout each is made by itself.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/model/header.h"
#include "core/model/sharded_state.h"
#include "core/plan/inner.h"

struct stage {
	struct wfs_layout *layout;
	struct wfs_model *model;
	unsigned number;
	unsigned first, ranks; /* of the stage: those that are made */
	uint64_t part_size;
	bool escaped; /* the order of file names is not that of names */
	struct wfs_rank *rank; /* its first one */
	uint32_t *targets;
};

static const struct wfs_rule *rule_of(const struct wfs_layout *layout,
				      const struct wfs_target *t)
{
	return &layout->plan->rules[t->rule];
}

static bool is_of(const struct wfs_target *t, const struct stage *s)
{
	return s->number >= t->from && s->number <= t->to &&
	       (t->rank < 0 || (unsigned)t->rank == s->first);
}

static bool same_storage(const struct wfs_layout *layout,
			 const struct wfs_target *a, const struct wfs_target *b)
{
	const char *x = rule_of(layout, a)->storage;
	const char *y = rule_of(layout, b)->storage;

	return x && y && !strcmp(x, y) &&
	       !memcmp(a->index, b->index, sizeof(a->index));
}

/* Of several names of one storage the smallest stays. */
static bool is_hidden(const struct stage *s, uint32_t at)
{
	const struct wfs_layout *layout = s->layout;
	const struct wfs_target *t = &layout->targets[at];

	if (layout->spec.hf || !rule_of(layout, t)->storage)
		return false;
	/* Sorted: the smaller ones come before. */
	for (uint32_t i = 0; i < at; i++)
		if (rule_of(layout, &layout->targets[i])->storage &&
		    is_of(&layout->targets[i], s) &&
		    same_storage(layout, &layout->targets[i], t))
			return true;
	return false;
}

/* Two of one name: the same storage in `hf`, else a mistake of the plan. */
static int check_twice(const struct stage *s, const struct wfs_target *a,
		       const struct wfs_target *b, struct wfs_err *err)
{
	const struct wfs_layout *layout = s->layout;
	const struct wfs_node *x = rule_of(layout, a)->target;
	const struct wfs_node *y = rule_of(layout, b)->target;

	if (layout->spec.hf && same_storage(layout, a, b))
		return 0;
	return wfs_err_set(err, -EINVAL,
			   "model '%s': %s:%u and %s:%u both make "
			   "tensor '%s'",
			   layout->base->name, x->file, x->line, y->file,
			   y->line, a->name);
}

/* From now on the layout frees them. */
static void keep_targets(struct stage *s)
{
	unsigned rank = s->number * s->layout->spec.tp + s->first;

	for (unsigned r = 0; r < s->ranks; r++)
		s->layout->of_rank[rank + r] = s->targets;
}

static int pick_targets(struct stage *s, struct wfs_err *err)
{
	struct wfs_layout *layout = s->layout;
	const struct wfs_target *last = NULL;
	uint32_t n = 0;

	s->targets = wfs_calloc((size_t)layout->count + 1, sizeof(*s->targets));
	keep_targets(s);
	for (uint32_t i = 0; i < layout->count; i++) {
		const struct wfs_target *t = &layout->targets[i];

		if (!is_of(t, s) || is_hidden(s, i))
			continue;
		if (last && !strcmp(last->file_name, t->file_name)) {
			int rc = check_twice(s, last, t, err);

			if (rc)
				return rc;
			continue;
		}
		s->targets[n++] = i;
		last = t;
		s->escaped |= t->name != t->file_name;
	}
	s->rank->count = n;
	s->targets = wfs_realloc(s->targets, (n + 1) * sizeof(*s->targets));
	keep_targets(s);
	return 0;
}

static void fill_tensors(struct stage *s)
{
	struct wfs_rank *rank = s->rank;

	rank->tensors =
		wfs_calloc((size_t)rank->count + 1, sizeof(*rank->tensors));
	for (uint32_t i = 0; i < rank->count; i++) {
		const struct wfs_target *from =
			&s->layout->targets[s->targets[i]];
		struct wfs_tensor *t = &rank->tensors[i];

		t->name = from->name;
		t->file_name = from->file_name;
		t->shape = from->shape;
		t->size = from->size;
		t->dtype = from->dtype;
		t->ndim = from->ndim;
		rank->bytes += from->size;
	}
}

static int by_dtype(const void *a, const void *b, void *ctx)
{
	const struct wfs_rank *rank = ctx;
	const struct wfs_tensor *x = &rank->tensors[*(const uint32_t *)a];
	const struct wfs_tensor *y = &rank->tensors[*(const uint32_t *)b];

	if (x->dtype == y->dtype)
		return strcmp(x->name, y->name);
	return (int)wfs_dtype_place((enum wfs_dtype)x->dtype) -
	       (int)wfs_dtype_place((enum wfs_dtype)y->dtype);
}

/* By dtype, then by name. */
static void order_file(struct stage *s)
{
	struct wfs_rank *rank = s->rank;

	rank->file_order = wfs_header_order(rank->tensors, rank->count);
	if (s->escaped)
		qsort_r(rank->file_order, rank->count,
			sizeof(*rank->file_order), by_dtype, rank);
}

static void add_part(struct stage *s, uint32_t first, uint32_t count,
		     uint32_t number)
{
	struct wfs_layout *layout = s->layout;
	struct wfs_rank *rank = s->rank;
	const uint32_t *order = rank->file_order + first;
	uint32_t header = wfs_headers_add(layout->headers, rank, order, count,
					  layout->spec.whole);
	uint64_t off = wfs_headers_region(layout->headers, header)->size;
	struct wfs_part *part;

	for (uint32_t i = 0; i < count; i++) {
		rank->tensors[order[i]].off = off;
		rank->tensors[order[i]].shard = number;
		off += rank->tensors[order[i]].size;
	}
	layout->parts = wfs_realloc(layout->parts,
				    (layout->part_count + 1) * sizeof(*part));
	part = &layout->parts[layout->part_count++];
	memset(part, 0, sizeof(*part));
	part->rank = s->number * layout->spec.tp + s->first;
	part->first = first;
	part->count = count;
	part->header = header;
	part->size = off;
}

static void cut_parts(struct stage *s)
{
	struct wfs_rank *rank = s->rank;
	uint32_t first = 0, number = 0;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < rank->count; i++) {
		uint64_t size = rank->tensors[rank->file_order[i]].size;

		if (s->part_size && i > first &&
		    (bytes >= s->part_size || size > s->part_size - bytes)) {
			add_part(s, first, i - first, number++);
			first = i;
			bytes = 0;
		}
		bytes += size;
	}
	add_part(s, first, rank->count - first, number);
}

/* As sharded_state has it: of a rank, and of a part of it. */
static struct wfs_sharded_name name_of(const struct stage *s, unsigned tp,
				       uint32_t part)
{
	return (struct wfs_sharded_name){
		.pipeline = s->layout->spec.pp > 1,
		.pp = s->number,
		.tp = tp,
		.part = part,
	};
}

static const char *name_part(struct stage *s, unsigned tp, uint32_t number)
{
	struct wfs_sharded_name name = name_of(s, tp, number);
	char text[WFS_SHARDED_FILE_BYTES];

	if (s->layout->spec.whole)
		return "model.safetensors";
	wfs_sharded_file_name(&name, text, sizeof(text));
	return wfs_pool_text(&s->layout->pool, text, strlen(text));
}

static void name_rank(struct stage *s, struct wfs_rank *rank, unsigned tp)
{
	struct wfs_sharded_name name = name_of(s, tp, 0);
	char text[WFS_SHARDED_FILE_BYTES];

	wfs_sharded_rank_name(&name, text, sizeof(text));
	rank->name = wfs_pool_text(&s->layout->pool, text, strlen(text));
}

static void *copy(const void *from, size_t size)
{
	return memcpy(wfs_malloc(size), from, size);
}

/* The others of the ranks, and their parts, from the first one's. */
static void repeat(struct stage *s, uint32_t first_part)
{
	struct wfs_layout *layout = s->layout;
	uint32_t parts = layout->part_count - first_part;

	layout->parts = wfs_realloc(layout->parts,
				    (first_part + (size_t)s->ranks * parts) *
					    sizeof(*layout->parts));
	for (unsigned r = 0; r < s->ranks; r++) {
		struct wfs_rank *rank = &s->rank[r];

		if (r) {
			*rank = *s->rank;
			rank->tensors = copy(s->rank->tensors,
					     ((size_t)rank->count + 1) *
						     sizeof(*rank->tensors));
			rank->file_order =
				copy(s->rank->file_order,
				     ((size_t)rank->count + 1) *
					     sizeof(*rank->file_order));
		}
		name_rank(s, rank, s->first + r);
		for (uint32_t i = 0; i < parts; i++) {
			struct wfs_part *p =
				&layout->parts[first_part + r * parts + i];

			*p = layout->parts[first_part + i];
			p->rank = layout->parts[first_part].rank + r;
			p->name = name_part(s, s->first + r, i);
		}
	}
	layout->part_count = first_part + s->ranks * parts;
}

static int make_ranks(struct stage *s, struct wfs_err *err)
{
	uint32_t first_part = s->layout->part_count;
	int rc = pick_targets(s, err);

	if (rc)
		return rc;
	fill_tensors(s);
	order_file(s);
	cut_parts(s);
	repeat(s, first_part);
	return 0;
}

/* The ranks of a stage: together, in an uneven layout one by one. */
static int make_stage(struct wfs_layout *layout, struct wfs_model *model,
		      unsigned number, uint64_t part_size, struct wfs_err *err)
{
	unsigned tp = layout->spec.tp, step = layout->uneven ? 1 : tp;
	int rc = 0;

	for (unsigned first = 0; !rc && first < tp; first += step) {
		struct stage s = { .layout = layout,
				   .model = model,
				   .number = number,
				   .first = first,
				   .ranks = step,
				   .part_size = part_size,
				   .rank = &model->ranks[number * tp + first] };

		rc = make_ranks(&s, err);
	}
	return rc;
}

int wfs_layout_ranks(struct wfs_layout *layout, struct wfs_model *model,
		     uint64_t part_size, struct wfs_err *err)
{
	int rc = 0;

	model->rank_count = layout->spec.tp * layout->spec.pp;
	model->ranks = wfs_calloc(model->rank_count, sizeof(*model->ranks));
	layout->of_rank =
		wfs_calloc(model->rank_count, sizeof(*layout->of_rank));
	layout->headers = wfs_headers_new();
	for (unsigned i = 0; !rc && i < layout->spec.pp; i++)
		rc = make_stage(layout, model, i, part_size, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < model->rank_count; i++)
		model->tensor_bytes += model->ranks[i].bytes;
	return 0;
}
