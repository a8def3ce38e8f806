/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules proposed by names, where bytes say too little or too much: tensors of
 * a few elements, biases of zeros, norms of ones.  Each is held against the
 * bytes of all examples; the first that makes them is taken.
 */
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

#define SMALL 65536u /* elements: what is compared with all of its size */

static void prepare(struct wfs_learn *k, const struct wfs_tensor *t,
		    struct wfs_learnt_rule *rule)
{
	*rule = (struct wfs_learnt_rule){
		.dtype = (enum wfs_dtype)t->dtype,
	};
	rule->pieces = wfs_pool_alloc(
		&k->pool, WFS_LEARN_PIECES * sizeof(*rule->pieces), 1);
	memset(rule->pieces, 0, WFS_LEARN_PIECES * sizeof(*rule->pieces));
}

/* A whole tensor of the checkpoint, to be `ndim` dims; false: there is no
   such tensor, or its dtype cannot be had. */
static bool whole(struct wfs_learn *k, struct wfs_learnt_rule *rule,
		  const char *pattern, int64_t layer, unsigned ndim)
{
	struct wfs_learnt_piece *p = &rule->pieces[rule->count];
	struct wfs_pool pool = { 0 };
	int64_t at = wfs_source_find(k->base, wfs_pattern_fill(&pool, pattern,
							       layer, 0));
	const struct wfs_tensor *s = &k->base->ranks[0].tensors[at];
	const struct wfs_view *v = NULL;

	memset(p, 0, sizeof(*p));
	if (at >= 0) {
		p->merged = s->ndim == ndim + 1u || (!s->ndim && ndim == 1);
		v = wfs_learn_source_view(&pool, k->base, (uint32_t)at,
					  p->merged, rule->dtype);
	}
	if (v) {
		p->source = pattern;
		p->ndim = v->ndim;
		memcpy(p->full, v->shape, v->ndim * sizeof(*p->full));
		memcpy(p->len, p->full, sizeof(p->len));
		rule->cast = rule->cast || s->dtype != rule->dtype;
		rule->count++;
	}
	wfs_pool_clear(&pool);
	return v;
}

/* Whole, or split along one dim. */
static int try_dims(struct wfs_learn *k, const struct wfs_member *m,
		    struct wfs_learnt_rule *rule)
{
	struct wfs_learnt_piece *p = rule->pieces;
	int rc = wfs_rule_matches(k, rule, m);

	for (unsigned d = 0; d < p->ndim && !rc && k->shared; d++) {
		p->how[d] = WFS_HOW_SPLIT;
		rc = wfs_rule_matches(k, rule, m);
		if (rc > 0)
			wfs_learn_heads(k, m, rule);
		else
			p->how[d] = WFS_HOW_WHOLE;
	}
	return rc;
}

int wfs_learn_propose_named(struct wfs_learn *k, const struct wfs_group *g,
			    const struct wfs_member *m,
			    struct wfs_learnt_rule *ret)
{
	const struct wfs_example *ex;
	unsigned stage = 0;
	const struct wfs_tensor *t = wfs_learn_sample(k, m, &ex, &stage);

	prepare(k, t, ret);
	if (!whole(k, ret, g->pattern, m->layer, t->ndim))
		return 0;
	return try_dims(k, m, ret);
}

/* "a.b.weight" and "a.b.bias": the length of what both begin with, or 0. */
static size_t stem_of(const char *a, const char *b)
{
	const char *dot = strrchr(a, '.');
	size_t len = dot ? (size_t)(dot - a) + 1 : 0;

	return len && !strncmp(a, b, len) && !strchr(b + len, '.') ? len : 0;
}

/*
 * "w13_scale" beside "w13_weight", whose source is "gate.weight": the end
 * that they do not share is replaced, "gate.scale".  NULL: the source does not
 * end so.
 */
static const char *rename_source(struct wfs_learn *k, const char *source,
				 const char *theirs, const char *ours)
{
	size_t same = 0, cut = 0, tail, len = strlen(source);
	char *name wfs_autofree = NULL;

	while (ours[same] && ours[same] == theirs[same]) {
		if (ours[same] == '_')
			cut = same + 1;
		same++;
	}
	tail = strlen(theirs + cut);
	if (tail > len || strcmp(source + len - tail, theirs + cut) != 0 ||
	    (tail < len && !strchr("._", source[len - tail - 1])))
		return NULL;
	name = wfs_asprintf("%.*s%s", (int)(len - tail), source, ours + cut);
	return wfs_pool_text(&k->pool, name, strlen(name));
}

/* The region of `like`, in proportion: packed or grouped elements are fewer.
   Whole where that does not divide. */
static void scale_region(const struct wfs_learnt_piece *like,
			 struct wfs_learnt_piece *p)
{
	for (unsigned d = 0; d < p->ndim && d < like->ndim; d++) {
		if (like->start[d] * p->full[d] % like->full[d] ||
		    like->len[d] * p->full[d] % like->full[d])
			continue;
		p->start[d] = like->start[d] * p->full[d] / like->full[d];
		p->len[d] = like->len[d] * p->full[d] / like->full[d];
	}
}

/* The pieces of `like` under other names. */
static bool imitate(struct wfs_learn *k, const struct wfs_member *m,
		    const struct wfs_learnt_rule *like, const char *word,
		    unsigned ndim, struct wfs_learnt_rule *rule)
{
	const char *theirs = strrchr(like->target, '.') + 1;

	rule->count = 0;
	rule->stack = like->stack;
	rule->transposed = false;
	ndim -= like->stack > 0;
	rule->dim = like->dim < ndim ? like->dim : 0;
	for (uint32_t i = 0; i < like->count; i++) {
		const char *name =
			rename_source(k, like->pieces[i].source, theirs, word);

		if (!name || !whole(k, rule, name, m->layer, ndim))
			return false;
		scale_region(&like->pieces[i], &rule->pieces[i]);
	}
	return rule->count > 0;
}

static int try_like(struct wfs_learn *k, const struct wfs_member *m,
		    const struct wfs_learnt_rule *like,
		    struct wfs_learnt_rule *rule)
{
	int rc;

	/* Cut as the other one, as far as it has such dims and is whole. */
	for (uint32_t i = 0; i < rule->count; i++)
		for (unsigned d = 0; d < rule->pieces[i].ndim; d++)
			if (d < like->pieces[i].ndim)
				rule->pieces[i].how[d] = like->pieces[i].how[d];
	rc = wfs_rule_matches(k, rule, m);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < rule->count; i++)
		memset(rule->pieces[i].how, 0, sizeof(rule->pieces[i].how));
	rc = wfs_rule_matches(k, rule, m);
	if (rc || rule->count == 1)
		return rc;
	rule->dim = 0;
	rc = wfs_rule_matches(k, rule, m);
	if (rc)
		return rc;
	/* Of one value for all parts an engine keeps the last. */
	rule->pieces[0] = rule->pieces[rule->count - 1];
	rule->count = 1;
	return wfs_rule_matches(k, rule, m);
}

int wfs_learn_propose_sibling(struct wfs_learn *k, const struct wfs_group *g,
			      const struct wfs_member *m,
			      struct wfs_learnt_rule *ret)
{
	const struct wfs_example *ex;
	unsigned stage = 0;
	const struct wfs_tensor *t = wfs_learn_sample(k, m, &ex, &stage);
	int rc = 0;

	for (uint32_t i = 0; i < k->rule_count && !rc; i++) {
		const struct wfs_learnt_rule *like = &k->rules[i];
		size_t stem = stem_of(g->pattern, like->target);

		if (!stem || like->constant || t->ndim < (like->stack > 0))
			continue;
		prepare(k, t, ret);
		if (imitate(k, m, like, g->pattern + stem, t->ndim, ret))
			rc = try_like(k, m, like, ret);
	}
	return rc;
}

/* A layer's pattern of a name of the checkpoint. */
static const char *lift(struct wfs_learn *k, const char *name, int64_t layer)
{
	const char *from = name, *at, *end;
	char *pattern wfs_autofree = NULL;
	int64_t value;

	while ((at = wfs_learn_digits(from, &value, &end))) {
		from = end;
		if (value != layer)
			continue;
		pattern = wfs_asprintf("%.*s%c%s", (int)(at - name), name,
				       WFS_AT_LAYER, end);
		return wfs_pool_text(&k->pool, pattern, strlen(pattern));
	}
	return name;
}

static uint64_t count_of(const struct wfs_tensor *t)
{
	uint64_t n = 1;

	for (unsigned d = 0; d < t->ndim; d++)
		n *= t->shape[d];
	return n;
}

/* Has an example a tensor of this name?  Then that is what it is for. */
static bool is_target(const struct wfs_learn *k, const struct wfs_tensor *t)
{
	for (size_t i = 0; i < k->example_count; i++) {
		const struct wfs_example *ex = &k->examples[i];

		for (unsigned s = 0; s < ex->pp; s++)
			if (wfs_rank_find(&ex->dump->ranks[s * ex->tp],
					  t->file_name) >= 0)
				return true;
	}
	return false;
}

/* The one dim that is shorter than all ranks' together, so padded; -1: none. */
static int padded_dim(const struct wfs_tensor *source,
		      const struct wfs_tensor *t, unsigned tp)
{
	int dim = -1;

	if (source->ndim != t->ndim)
		return -1;
	for (unsigned d = 0; d < t->ndim; d++) {
		if (source->shape[d] == t->shape[d])
			continue;
		if (dim >= 0 || source->shape[d] >= t->shape[d] * tp)
			return -1;
		dim = (int)d;
	}
	return dim;
}

/* One source, whole, split or padded: 1 and how in `rule`, 0, or an error. */
static int try_small(struct wfs_learn *k, const struct wfs_member *m,
		     const struct wfs_tensor *t, uint32_t source, int pad_dim,
		     struct wfs_learnt_rule *rule)
{
	const char *name = k->base->ranks[0].tensors[source].name;
	int rc;

	prepare(k, t, rule);
	if (!whole(k, rule, lift(k, name, m->layer), m->layer, t->ndim))
		return 0;
	rc = try_dims(k, m, rule);
	if (rc || pad_dim < 0)
		return rc;
	rule->pad_dim = (uint8_t)pad_dim;
	return wfs_learn_pad(k, m, rule);
}

int wfs_learn_propose_small(struct wfs_learn *k, const struct wfs_group *g,
			    const struct wfs_member *m,
			    struct wfs_learnt_rule *ret)
{
	const struct wfs_rank *base = &k->base->ranks[0];
	const struct wfs_example *ex;
	unsigned stage = 0;
	const struct wfs_tensor *t = wfs_learn_sample(k, m, &ex, &stage);
	uint64_t count = count_of(t);
	int score = -1;

	(void)g;
	for (uint32_t i = 0; i < base->count && count <= SMALL; i++) {
		int like =
			2 * wfs_learn_likeness(base->tensors[i].name, m->name) +
			!k->used[i];
		uint64_t has = count_of(&base->tensors[i]);
		int pad = padded_dim(&base->tensors[i], t, ex->tp);
		struct wfs_learnt_rule rule;
		int rc;

		if ((pad < 0 && has != count && has != count * ex->tp) ||
		    like <= score || is_target(k, &base->tensors[i]))
			continue;
		rc = try_small(k, m, t, i, pad, &rule);
		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		*ret = rule;
		score = like;
	}
	return score >= 0;
}

/* Shapes of all examples: the same, or shared out by tp. */
static int constant_shape(struct wfs_learn *k, const struct wfs_member *m,
			  struct wfs_learnt_rule *rule)
{
	int rc = wfs_rule_matches(k, rule, m);

	for (unsigned d = 0; d < rule->ndim && !rc; d++) {
		const struct wfs_example *ex = NULL;
		unsigned stage = 0;

		wfs_learn_sample(k, m, &ex, &stage);
		rule->shape[d] *= ex->tp;
		rule->shared[d] = true;
		rc = wfs_rule_matches(k, rule, m);
		if (rc)
			break;
		rule->shape[d] /= ex->tp;
		rule->shared[d] = false;
	}
	return rc;
}

int wfs_learn_propose_constant(struct wfs_learn *k, const struct wfs_group *g,
			       const struct wfs_member *m,
			       struct wfs_learnt_rule *ret)
{
	const struct wfs_example *ex;
	unsigned stage = 0;
	const struct wfs_tensor *t = wfs_learn_sample(k, m, &ex, &stage);
	struct wfs_pool pool = { 0 };
	struct wfs_elements e = { 0 };
	int rc = 0;

	(void)g;
	prepare(k, t, ret);
	if (!wfs_elements_open(wfs_learn_dump_view(&pool, ex->dump, t), &e,
			       NULL))
		rc = wfs_elements_constant(&e, ret->bits);
	wfs_elements_close(&e);
	wfs_pool_clear(&pool);
	if (rc <= 0)
		return rc;
	ret->constant = true;
	ret->ndim = t->ndim;
	if (t->ndim)
		memcpy(ret->shape, t->shape, t->ndim * sizeof(*t->shape));
	return constant_shape(k, m, ret);
}
