/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the elements of the checkpoint are: the rules over its description
 * are compared with the dump, tensor by tensor, and read backwards.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/inverse_inner.h"
#include "core/plan/invert.h"
#include "core/plan/view_inner.h"

#define CONST_BYTES 4096u /* larger constants are not looked at */
#define CLEAR_EVERY 32u	  /* tensors: views are thrown away */

/* Boxes of one tensor of the checkpoint. */
struct boxes {
	struct wfs_given *given;
	uint32_t n, cap;
};

struct fill {
	const struct wfs_layout *layout;
	const struct wfs_model *ranks; /* of the layout */
	struct wfs_model *model;       /* the checkpoint */
	struct wfs_inverse *inverse;
	struct boxes *boxes; /* by tensor */
	struct wfs_pool scratch;
	uint32_t since_clear;
	struct wfs_err *err;
};

/* A tensor of the dump beside the layout's. */
struct pair {
	uint32_t rank, index; /* of the layout */
	const struct wfs_tensor *dump;
};

static int only_dump_has(struct fill *f, uint32_t rank,
			 const struct wfs_tensor *t)
{
	return wfs_err_set(f->err, -EINVAL,
			   "model '%s': rank '%s' has a tensor '%s', which no "
			   "rule of plan '%s' makes: " WFS_INVERSE_WHY,
			   f->inverse->dump->name, f->ranks->ranks[rank].name,
			   t->name, f->layout->plan->name);
}

static int only_plan_has(struct fill *f, uint32_t rank,
			 const struct wfs_tensor *t)
{
	return wfs_err_set(f->err, -EINVAL,
			   "model '%s': rank '%s' has no tensor '%s', which "
			   "plan '%s' makes: " WFS_INVERSE_WHY,
			   f->inverse->dump->name, f->ranks->ranks[rank].name,
			   t->name, f->layout->plan->name);
}

static int check_like(struct fill *f, const struct pair *p,
		      const struct wfs_tensor *own)
{
	const struct wfs_tensor *t = p->dump;

	if (t->dtype == own->dtype &&
	    wfs_shape_equals(t->shape, t->ndim, own->shape, own->ndim))
		return 0;
	return wfs_err_set(f->err, -EINVAL,
			   "model '%s': tensor '%s' of rank '%s' is %s of "
			   "%llu bytes, and by plan '%s' it would be %s of "
			   "%llu: " WFS_INVERSE_WHY,
			   f->inverse->dump->name, t->name,
			   f->ranks->ranks[p->rank].name,
			   wfs_dtype_name((enum wfs_dtype)t->dtype),
			   (unsigned long long)t->size, f->layout->plan->name,
			   wfs_dtype_name((enum wfs_dtype)own->dtype),
			   (unsigned long long)own->size);
}

/* A constant that the plan would put in its place must be it. */
static int check_const(struct fill *f, const struct pair *p,
		       const struct wfs_view *view, struct wfs_region *region)
{
	uint8_t bytes[CONST_BYTES], pattern[8];
	size_t width = wfs_dtype_bits(view->dtype) / 8;
	int rc;

	if (p->dump->size > sizeof(bytes) || !width)
		return 0;
	memcpy(pattern, view->pattern, sizeof(pattern));
	rc = wfs_region_read_exactly(region, bytes, p->dump->size,
				     p->dump->off);
	if (rc)
		return wfs_err_set(f->err, rc,
				   "model '%s': cannot read tensor '%s': %s",
				   f->inverse->dump->name, p->dump->name,
				   strerror(-rc));
	for (size_t at = 0; at < p->dump->size; at += width)
		if (memcmp(bytes + at, pattern, width))
			return wfs_err_set(
				f->err, -EINVAL,
				"model '%s': tensor '%s' of rank '%s' holds "
				"another value than the one that plan '%s' "
				"gives it: " WFS_INVERSE_WHY,
				f->inverse->dump->name, p->dump->name,
				f->ranks->ranks[p->rank].name,
				f->layout->plan->name);
	return 0;
}

/* What several ranks have is there once. */
static bool has_box(const struct boxes *b, const struct wfs_given *given)
{
	size_t bytes = given->view->ndim * sizeof(given->start[0]);

	for (uint32_t i = 0; i < b->n; i++)
		if (!memcmp(b->given[i].start, given->start, bytes) &&
		    !memcmp(b->given[i].view->shape, given->view->shape, bytes))
			return true;
	return false;
}

static void found(void *ctx, const struct wfs_view *source,
		  const struct wfs_given *given)
{
	struct fill *f = ctx;
	struct boxes *b = &f->boxes[source->off];

	/* What else asks for it makes another dtype of it. */
	if (given->view->dtype != source->dtype || has_box(b, given))
		return;
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 4;
		b->given = wfs_realloc(b->given, b->cap * sizeof(*b->given));
	}
	b->given[b->n++] = *given;
}

static int fill_from(struct fill *f, const struct pair *p)
{
	const struct wfs_layout *layout = f->layout;
	const struct wfs_target *target =
		&layout->targets[layout->of_rank[p->rank][p->index]];
	const struct wfs_tensor *t = p->dump;
	struct wfs_region *region = f->inverse->dump->entries[t->shard].region;
	const struct wfs_view *view = NULL, *values;
	int rc = wfs_target_view(layout, target, p->rank, &f->scratch, &view,
				 f->err);

	if (!rc && view->op == WFS_VIEW_CONST) {
		/* Ranks of a stage have the same. */
		if (p->rank % layout->spec.tp == 0)
			rc = check_const(f, p, view, region);
	} else if (!rc) {
		values = wfs_view_source(&f->inverse->pool, region, t->off,
					 (enum wfs_dtype)t->dtype, t->ndim,
					 t->shape);
		/* What cannot be told is missing in the end. */
		wfs_view_invert(&f->inverse->pool, view, values, found, f);
	}
	if (++f->since_clear == CLEAR_EVERY) {
		wfs_pool_clear(&f->scratch);
		f->since_clear = 0;
	}
	return rc;
}

/* Both are in the order of their file names. */
static int fill_rank(struct fill *f, uint32_t rank)
{
	const struct wfs_rank *a = &f->inverse->dump->ranks[rank];
	const struct wfs_rank *b = &f->ranks->ranks[rank];
	uint32_t i = 0, k = 0;
	int rc = 0;

	for (; i < a->count && !rc; i++) {
		const struct wfs_tensor *t = &a->tensors[i];
		struct pair p = { .rank = rank, .index = k, .dump = t };
		int order = k < b->count ? strcmp(t->file_name,
						  b->tensors[k].file_name) :
					   -1;

		/* An engine leaves those without elements out. */
		if (order < 0 && !t->size)
			continue;
		if (order > 0)
			break;
		if (order < 0)
			return only_dump_has(f, rank, t);
		rc = check_like(f, &p, &b->tensors[k++]);
		if (!rc)
			rc = fill_from(f, &p);
	}
	if (!rc && k < b->count)
		rc = only_plan_has(f, rank, &b->tensors[k]);
	return rc;
}

int wfs_inverse_fill(const struct wfs_layout *layout,
		     const struct wfs_model *ranks, struct wfs_model *model,
		     struct wfs_err *err)
{
	const struct wfs_rank *own = &model->ranks[0];
	struct fill f = { .layout = layout,
			  .ranks = ranks,
			  .model = model,
			  .inverse = wfs_inverse_of(model),
			  .err = err };
	int rc = 0;

	f.boxes = wfs_calloc((size_t)own->count + 1, sizeof(*f.boxes));
	for (uint32_t i = 0; i < ranks->rank_count && !rc; i++)
		rc = fill_rank(&f, i);
	for (uint32_t i = 0; i < own->count; i++) {
		const struct wfs_tensor *t = &own->tensors[i];

		if (!rc)
			f.inverse->views[i] = wfs_view_compose(
				&f.inverse->pool, t->ndim, t->shape,
				f.boxes[i].given, f.boxes[i].n);
		free(f.boxes[i].given);
	}
	free(f.boxes);
	wfs_pool_clear(&f.scratch);
	return rc;
}
