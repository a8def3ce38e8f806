/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule made true: the tensor that it says a rank has, and whether the dumps
 * have the same one.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

#define WHOLE	(1u << 18) /* bytes: up to this all are compared */
#define SAMPLE	4096u
#define SAMPLES 32u

char *wfs_pattern_fill(struct wfs_pool *pool, const char *pattern,
		       int64_t layer, int64_t stack)
{
	char name[4096];
	size_t len = 0;

	for (; *pattern && len < sizeof(name) - 24; pattern++) {
		if (*pattern == WFS_AT_SECOND)
			name[len++] = '0'; /* the first of them */
		else if (*pattern == WFS_AT_LAYER || *pattern == WFS_AT_STACK)
			len += (size_t)snprintf(
				name + len, 24, "%lld",
				(long long)(*pattern == WFS_AT_LAYER ? layer :
								       stack));
		else
			name[len++] = *pattern;
	}
	return wfs_pool_text(pool, name, len);
}

static const struct wfs_view *zeros_like(struct wfs_pool *pool,
					 const struct wfs_view *v, unsigned dim,
					 uint64_t len)
{
	uint64_t shape[WFS_VIEW_DIMS], zero = 0;

	memcpy(shape, v->shape, v->ndim * sizeof(*shape));
	shape[dim] = len;
	return wfs_view_const(pool, v->dtype, v->ndim, shape, &zero);
}

static const struct wfs_view *pad(struct wfs_pool *pool,
				  const struct wfs_learnt_rule *rule,
				  const struct wfs_view *v, unsigned tp)
{
	uint64_t multiple = rule->pad * (rule->pad_by_tp ? tp : 1);
	uint64_t over = v->shape[rule->pad_dim] % multiple;
	const struct wfs_view *both[2] = { v, NULL };

	if (!over)
		return v;
	both[1] = zeros_like(pool, v, rule->pad_dim, multiple - over);
	return wfs_view_concat(pool, both, 2, rule->pad_dim, NULL);
}

/* A rank's part of one dim. */
static const struct wfs_view *share(struct wfs_learn *k, struct wfs_pool *pool,
				    const struct wfs_view *v, unsigned dim,
				    enum wfs_how how, const unsigned *at)
{
	uint64_t size = v->shape[dim], heads, kv = 0, head_dim;
	unsigned tp = at[0], rank = at[1];

	if (how == WFS_HOW_WHOLE)
		return v;
	wfs_learn_head_counts(k, &heads, &kv, &head_dim);
	if (how == WFS_HOW_SPLIT || how == WFS_HOW_PARTS)
		return size % tp || (how == WFS_HOW_PARTS && kv % tp) ?
			       NULL :
			       wfs_view_slice(pool, v, dim, size / tp * rank,
					      size / tp, NULL);
	if (!kv || size % kv || (kv >= tp ? kv % tp : tp % kv))
		return NULL;
	size /= kv;
	return kv >= tp ? wfs_view_slice(pool, v, dim, rank * (kv / tp) * size,
					 kv / tp * size, NULL) :
			  wfs_view_slice(pool, v, dim, rank / (tp / kv) * size,
					 size, NULL);
}

static const struct wfs_view *
piece_view(struct wfs_learn *k, const struct wfs_learnt_rule *rule,
	   const struct wfs_learnt_piece *p, struct wfs_pool *pool,
	   const int64_t *which, const unsigned *at)
{
	const char *name =
		wfs_pattern_fill(pool, p->source, which[0], which[1]);
	int64_t source = wfs_source_find(k->base, name);
	const struct wfs_view *v =
		source < 0 ?
			NULL :
			wfs_learn_source_view(pool, k->base, (uint32_t)source,
					      p->merged, rule->dtype);

	if (!v || !wfs_shape_equals(v->shape, v->ndim, p->full, p->ndim))
		return NULL;
	for (unsigned d = 0; d < p->ndim && v; d++) {
		if (p->start[d] || p->len[d] != p->full[d])
			v = wfs_view_slice(pool, v, d, p->start[d], p->len[d],
					   NULL);
		if (v && rule->pad && d == rule->pad_dim)
			v = pad(pool, rule, v, at[0]);
		if (v)
			v = share(k, pool, v, d, p->how[d], at);
	}
	if (v && rule->first_only && at[1])
		v = zeros_like(pool, v, 0, v->shape[0]);
	return v;
}

static const struct wfs_view *join(struct wfs_learn *k,
				   const struct wfs_learnt_rule *rule,
				   struct wfs_pool *pool, const int64_t *which,
				   const unsigned *at)
{
	const struct wfs_view *views[WFS_LEARN_PIECES];

	for (uint32_t i = 0; i < rule->count; i++) {
		views[i] =
			piece_view(k, rule, &rule->pieces[i], pool, which, at);
		if (!views[i])
			return NULL;
	}
	return rule->count == 1 ? views[0] :
				  wfs_view_concat(pool, views, rule->count,
						  rule->dim, NULL);
}

static const struct wfs_view *stack(struct wfs_learn *k,
				    const struct wfs_learnt_rule *rule,
				    struct wfs_pool *pool, int64_t layer,
				    const unsigned *at)
{
	const struct wfs_view **views;
	uint64_t shape[WFS_VIEW_DIMS] = { 1 };

	views = wfs_pool_alloc(pool, rule->stack * sizeof(*views), 1);
	for (uint64_t i = 0; i < rule->stack; i++) {
		int64_t which[2] = { layer, (int64_t)i };
		const struct wfs_view *v = join(k, rule, pool, which, at);

		if (!v || v->ndim == WFS_VIEW_DIMS)
			return NULL;
		memcpy(shape + 1, v->shape, v->ndim * sizeof(*shape));
		views[i] = wfs_view_reshape(pool, v, v->ndim + 1u, shape, NULL);
	}
	return wfs_view_concat(pool, views, (unsigned)rule->stack, 0, NULL);
}

static const struct wfs_view *constant(const struct wfs_learnt_rule *rule,
				       struct wfs_pool *pool, unsigned tp)
{
	uint64_t shape[WFS_VIEW_DIMS];

	for (unsigned d = 0; d < rule->ndim; d++) {
		shape[d] = rule->shape[d] / (rule->shared[d] ? tp : 1);
		if (rule->shared[d] && rule->shape[d] % tp)
			return NULL;
	}
	return wfs_view_const(pool, rule->dtype, rule->ndim, shape, rule->bits);
}

const struct wfs_view *wfs_rule_view(struct wfs_learn *k,
				     const struct wfs_learnt_rule *rule,
				     struct wfs_pool *pool, int64_t layer,
				     unsigned tp, unsigned rank)
{
	const unsigned at[2] = { tp, rank };
	const int64_t which[2] = { layer, -1 };
	const struct wfs_view *v;

	if (rule->constant)
		return constant(rule, pool, tp);
	v = rule->stack ? stack(k, rule, pool, layer, at) :
			  join(k, rule, pool, which, at);
	if (v && rule->transposed)
		v = v->ndim < 2 ? NULL :
				  wfs_view_transpose(pool, v, v->ndim - 2u,
						     v->ndim - 1u, NULL);
	return v;
}

/* All of it, or places all over it. */
static int same_bytes(const struct wfs_recipe *a, const struct wfs_recipe *b)
{
	uint64_t step = a->size <= WHOLE ? SAMPLE : a->size / SAMPLES;
	char ours[SAMPLE], theirs[SAMPLE];

	if (a->size != b->size)
		return 0;
	for (uint64_t at = 0; at < a->size; at += step) {
		ssize_t n = wfs_recipe_read(a, ours, SAMPLE, at);
		ssize_t m = wfs_recipe_read(b, theirs, SAMPLE, at);

		if (n < 0 || m < 0)
			return n < 0 ? (int)n : (int)m;
		if (n != m || memcmp(ours, theirs, (size_t)n) != 0)
			return 0;
	}
	return 1;
}

static int same_tensor(const struct wfs_view *v, const struct wfs_view *dump)
{
	struct wfs_recipe *a = NULL, *b = NULL;
	int rc;

	if (!v || v->dtype != dump->dtype ||
	    !wfs_shape_equals(v->shape, v->ndim, dump->shape, dump->ndim))
		return 0;
	/* What has no recipe is no rule. */
	if (wfs_view_recipe(v, &a, NULL))
		return 0;
	rc = wfs_view_recipe(dump, &b, NULL);
	if (!rc)
		rc = same_bytes(a, b);
	wfs_recipe_free(a);
	wfs_recipe_free(b);
	return rc;
}

static int matches_stage(struct wfs_learn *k,
			 const struct wfs_learnt_rule *rule,
			 const struct wfs_member *m,
			 const struct wfs_example *ex, unsigned stage)
{
	int rc = 1;

	for (unsigned r = 0; r < ex->tp && rc > 0; r++) {
		const struct wfs_tensor *t =
			wfs_learn_tensor(k, ex, m, stage, r);
		struct wfs_pool pool = { 0 };
		const struct wfs_view *dump =
			t ? wfs_learn_dump_view(&pool, ex->dump, t) : NULL;

		rc = !dump ? 0 :
			     same_tensor(wfs_rule_view(k, rule, &pool, m->layer,
						       ex->tp, r),
					 dump);
		wfs_pool_clear(&pool);
	}
	return rc;
}

int wfs_rule_matches(struct wfs_learn *k, const struct wfs_learnt_rule *rule,
		     const struct wfs_member *m)
{
	int rc = 1;

	for (size_t i = 0; i < k->example_count && rc > 0; i++)
		for (unsigned s = 0; s < k->examples[i].pp && rc > 0; s++)
			if (m->where >> (k->examples[i].place + s) & 1)
				rc = matches_stage(k, rule, m, &k->examples[i],
						   s);
	if (rc < 0)
		wfs_err_set(k->err, rc, "cannot compare tensor '%s': %s",
			    m->name, strerror(-rc));
	return rc;
}
