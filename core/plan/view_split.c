/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of which tensors a view consists of, written down: the answer to
 * "how was this cut?", where wfs_view_describe tells how it is computed.
 */
#include <inttypes.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/view_inner.h"

/* A box of a view's elements. */
struct box {
	uint64_t start[WFS_VIEW_DIMS];
	uint64_t len[WFS_VIEW_DIMS];
};

struct parts {
	struct wfs_text *text;
	bool named; /* say which tensor */
	uint32_t count;
};

static void begin_part(struct parts *p, const char *name)
{
	if (p->count++)
		wfs_text_add(p->text, "; ");
	if (p->named)
		wfs_text_add(p->text, "%s", name);
}

static void add_source(struct parts *p, const struct wfs_view *v,
		       const struct box *box)
{
	bool whole = true;

	begin_part(p, v->name ? v->name : v->region->path);
	for (unsigned i = 0; i < v->ndim; i++) {
		if (box->len[i] == v->shape[i])
			continue;
		wfs_text_add(p->text,
			     "%sdim=%u range=%" PRIu64 ":%" PRIu64
			     " of=%" PRIu64,
			     p->named || !whole ? " " : "", i, box->start[i],
			     box->start[i] + box->len[i], v->shape[i]);
		whole = false;
	}
	if (whole)
		wfs_text_add(p->text, "%s", p->named ? " whole" : "none");
}

static void visit(struct parts *p, const struct wfs_view *v,
		  const struct box *box);

static void visit_concat(struct parts *p, const struct wfs_view *v,
			 const struct box *box)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < v->count; i++) {
		const struct wfs_view *o = v->operands[i];
		uint64_t lo = box->start[v->dim];
		uint64_t hi = lo + box->len[v->dim];
		uint64_t end = at + o->shape[v->dim];
		struct box part = *box;

		if (lo < at)
			lo = at;
		if (hi > end)
			hi = end;
		part.start[v->dim] = lo - at;
		part.len[v->dim] = hi - lo;
		if (lo < hi)
			visit(p, o, &part);
		at = end;
	}
}

/* Dims that a reshape leaves alone, before and behind those it changes. */
static void visit_reshape(struct parts *p, const struct wfs_view *v,
			  const struct box *box)
{
	const struct wfs_view *o = v->operand;
	unsigned n = v->ndim, m = o->ndim, head = 0, tail = 0;
	struct box part = { 0 };
	bool whole = true;

	while (head < n && head < m && v->shape[head] == o->shape[head])
		head++;
	while (tail + head < n && tail + head < m &&
	       v->shape[n - 1 - tail] == o->shape[m - 1 - tail])
		tail++;
	memcpy(part.len, o->shape, m * sizeof(*part.len));
	memcpy(part.start, box->start, head * sizeof(*part.start));
	memcpy(part.len, box->len, head * sizeof(*part.len));
	memcpy(part.start + m - tail, box->start + n - tail,
	       tail * sizeof(*part.start));
	memcpy(part.len + m - tail, box->len + n - tail,
	       tail * sizeof(*part.len));
	for (unsigned i = head; i < n - tail; i++)
		whole = whole && box->len[i] == v->shape[i];
	visit(p, o, &part);
	if (!whole)
		wfs_text_add(p->text, " of it a part");
}

static void visit(struct parts *p, const struct wfs_view *v,
		  const struct box *box)
{
	struct box part = *box;

	/* What has a name is a tensor, whatever it is made of. */
	if (v->name) {
		add_source(p, v, box);
		return;
	}
	switch ((enum wfs_view_op)v->op) {
	case WFS_VIEW_SOURCE:
		add_source(p, v, box);
		return;
	case WFS_VIEW_CONST:
		begin_part(p, "constant");
		if (!p->named)
			wfs_text_add(p->text, "constant");
		return;
	case WFS_VIEW_CONCAT:
		visit_concat(p, v, box);
		return;
	case WFS_VIEW_RESHAPE:
		visit_reshape(p, v, box);
		return;
	case WFS_VIEW_SLICE:
		part.start[v->dim] += v->off;
		break;
	case WFS_VIEW_TRANSPOSE:
		part.start[v->dim] = box->start[v->dim2];
		part.len[v->dim] = box->len[v->dim2];
		part.start[v->dim2] = box->start[v->dim];
		part.len[v->dim2] = box->len[v->dim];
		break;
	case WFS_VIEW_CAST:
		break;
	}
	visit(p, v->operand, &part);
}

void wfs_view_split(const struct wfs_view *v, struct wfs_text *text)
{
	struct wfs_text first = { 0 };
	struct parts p = { .text = &first };
	struct box all = { 0 };

	memcpy(all.len, v->shape, v->ndim * sizeof(*all.len));
	visit(&p, v, &all);
	if (p.count > 1) {
		p = (struct parts){ .text = text, .named = true };
		visit(&p, v, &all);
	} else {
		wfs_text_add(text, "%s", first.data ? first.data : "none");
	}
	free(first.data);
}
