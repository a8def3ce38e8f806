/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all ranks of one example are made of, as a rule for any N.
 *
 * The cuts of all ranks are laid over each other, so that each piece comes
 * from one tensor on every rank.  Its places on the ranks, one after the
 * other, are the same (whole), next to each other (split), or repeated
 * (heads); anything else is no rule.
 */
#include <errno.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

/* How the tensor was looked at. */
struct aspect {
	bool cast, stacked, transposed;
	int64_t number; /* in the stack, of the one looked at */
};

struct seen {
	struct wfs_learn *learn;
	const struct wfs_group *group;
	const struct wfs_member *member;
	const struct wfs_example *ex;
	unsigned stage;
	struct aspect aspect;
	struct wfs_found *found; /* by rank */
	const char **why;
};

static const struct wfs_view *view_of(struct seen *s, unsigned rank,
				      struct wfs_pool *pool)
{
	const struct wfs_tensor *t =
		wfs_learn_tensor(s->learn, s->ex, s->member, s->stage, rank);
	const struct wfs_view *v =
		t ? wfs_learn_dump_view(pool, s->ex->dump, t) : NULL;

	if (v && s->aspect.stacked) {
		v = wfs_view_slice(pool, v, 0, (uint64_t)s->aspect.number, 1,
				   NULL);
		if (v)
			v = wfs_view_reshape(pool, v, v->ndim - 1u,
					     v->shape + 1, NULL);
	}
	if (v && s->aspect.transposed)
		v = wfs_view_transpose(pool, v, v->ndim - 2u, v->ndim - 1u,
				       NULL);
	return v;
}

static int explain_rank(struct seen *s, unsigned rank)
{
	struct wfs_pool pool = { 0 };
	const struct wfs_view *v = view_of(s, rank, &pool);
	struct wfs_look look = { .learn = s->learn,
				 .name = s->member->name,
				 .tp = s->ex->tp };
	struct wfs_elements e = { 0 };
	int rc = 0;

	if (v && !wfs_elements_open(v, &e, NULL)) {
		look.dtype = v->dtype;
		rc = wfs_index_get(s->learn, v->dtype, s->aspect.cast,
				   &look.index);
		if (!rc)
			rc = wfs_learn_explain(&look, &e, &s->found[rank]);
	}
	wfs_elements_close(&e);
	wfs_pool_clear(&pool);
	return rc;
}

static int explain_ranks(struct seen *s)
{
	bool any = false;
	int rc = 1;

	for (unsigned r = 0; r < s->ex->tp && rc > 0; r++) {
		rc = explain_rank(s, r);
		any = any || (rc > 0 && s->found[r].pieces[0].source >= 0);
	}
	return rc > 0 ? any : rc;
}

/* All ways of looking, the plainest first: 1 when one shows something. */
static int look_at(struct seen *s, const struct wfs_tensor *t)
{
	int rc = 0;

	for (unsigned way = 0; way < 8 && !rc; way++) {
		struct aspect a = { .cast = way & 4,
				    .transposed = way & 2,
				    .stacked = way & 1 };

		if (t->ndim < 1u + a.stacked + a.transposed)
			continue;
		if (a.stacked) {
			a.number = (int64_t)t->shape[0] - 1;
			a.number -= a.number == s->member->layer &&
				    a.number > 0;
		}
		s->aspect = a;
		rc = explain_ranks(s);
	}
	return rc;
}

/* Where pieces begin along the dim on any rank; their number, 0: too many. */
static uint32_t lay_cuts(const struct seen *s, unsigned dim, uint64_t *cuts)
{
	uint32_t n = 0;

	for (unsigned r = 0; r < s->ex->tp; r++)
		for (uint32_t i = 0; i < s->found[r].count; i++) {
			uint64_t at = s->found[r].pieces[i].at;
			uint32_t k = 0;

			if (s->found[r].count > 1 && s->found[r].dim != dim)
				return 0;
			while (k < n && cuts[k] < at)
				k++;
			if (k < n && cuts[k] == at)
				continue;
			if (n == WFS_LEARN_PIECES)
				return 0;
			memmove(&cuts[k + 1], &cuts[k],
				(n - k) * sizeof(*cuts));
			cuts[k] = at;
			n++;
		}
	return n;
}

/* What a rank has from `at` on, `len` along the dim. */
static struct wfs_found_piece piece_at(const struct wfs_found *f, unsigned dim,
				       uint64_t at, uint64_t len)
{
	uint32_t i = f->count - 1;
	struct wfs_found_piece p;

	while (i && f->pieces[i].at > at)
		i--;
	p = f->pieces[i];
	p.start[dim] += at - p.at;
	p.len[dim] = len ? len : p.len[dim] - (at - p.at);
	p.at = at;
	return p;
}

/* A name of the checkpoint as a pattern; false: it has no number for the
   stack. */
static bool lift_name(const struct seen *s, const char *name, const char **ret)
{
	struct wfs_pool *pool = &s->learn->pool;
	char *pattern = wfs_pool_text(pool, name, strlen(name));
	char *layer = NULL, *stack = NULL;
	const char *at, *from = pattern, *end;
	int64_t value;

	while ((at = wfs_learn_digits(from, &value, &end))) {
		char *here = pattern + (at - pattern);

		if (value == s->member->layer && !layer)
			layer = here;
		else if (value == s->aspect.number && s->aspect.stacked)
			stack = here;
		from = end;
	}
	if (s->aspect.stacked && !stack)
		return false;
	/* The later one first: the other one stays where it is. */
	for (int i = 0; i < 2; i++) {
		char *last = stack > layer ? stack : layer;

		if (!last)
			break;
		*last = last == stack ? WFS_AT_STACK : WFS_AT_LAYER;
		memmove(last + 1, last + strspn(last + 1, "0123456789") + 1,
			strlen(last + strspn(last + 1, "0123456789") + 1) + 1);
		if (last == stack)
			stack = NULL;
		else
			layer = NULL;
	}
	*ret = pattern;
	return true;
}

static bool fit_dim(const struct seen *s, const struct wfs_found_piece *p,
		    unsigned d, struct wfs_learnt_piece *to)
{
	unsigned tp = s->ex->tp;
	uint64_t len = p[0].len[d], first = p[0].start[d], kv = 0, heads, dim;
	bool whole = true, split = true, repeated;

	wfs_learn_head_counts(s->learn, &heads, &kv, &dim);
	repeated = kv && kv < tp && tp % kv == 0;
	for (unsigned r = 0; r < tp; r++) {
		uint64_t at = p[r].start[d] - first;

		if (p[r].len[d] != len)
			return false;
		whole = whole && !at;
		split = split && at == r * len;
		repeated = repeated && at == r / (tp / kv) * len;
	}
	to->how[d] = whole ? WFS_HOW_WHOLE :
		     split ? WFS_HOW_SPLIT :
			     WFS_HOW_HEADS;
	to->start[d] = first;
	to->len[d] = whole ? len : split ? len * tp : len * kv;
	return whole || split || repeated;
}

/* One piece of the rule from what the ranks have there. */
static bool fit_piece(const struct seen *s, const struct wfs_found_piece *p,
		      struct wfs_learnt_piece *to)
{
	const struct wfs_rank *base = &s->learn->base->ranks[0];

	for (unsigned r = 0; r < s->ex->tp; r++)
		if (p[r].source < 0 || p[r].source != p[0].source ||
		    p[r].merged != p[0].merged)
			return false;
	to->merged = p[0].merged;
	to->ndim = (uint8_t)(s->found[0].ndim);
	memcpy(to->full, p[0].full, sizeof(to->full));
	for (unsigned d = 0; d < to->ndim; d++)
		if (!fit_dim(s, p, d, to))
			return false;
	return lift_name(s, base->tensors[p[0].source].name, &to->source);
}

static void set_aspect(const struct seen *s, const struct wfs_tensor *t,
		       struct wfs_learnt_rule *rule)
{
	rule->dtype = (enum wfs_dtype)t->dtype;
	rule->cast = s->aspect.cast;
	rule->transposed = s->aspect.transposed;
	rule->stack = s->aspect.stacked ? t->shape[0] : 0;
	rule->pieces = wfs_pool_alloc(
		&s->learn->pool, WFS_LEARN_PIECES * sizeof(*rule->pieces), 1);
	memset(rule->pieces, 0, WFS_LEARN_PIECES * sizeof(*rule->pieces));
}

static bool fit_pieces(const struct seen *s, struct wfs_learnt_rule *rule)
{
	struct wfs_found_piece *p wfs_autofree =
		wfs_calloc(s->ex->tp, sizeof(*p));
	uint64_t cuts[WFS_LEARN_PIECES + 1];
	unsigned dim = s->found[0].dim;

	for (unsigned r = 0; r < s->ex->tp; r++)
		if (s->found[r].count > 1)
			dim = s->found[r].dim;
	rule->dim = (uint8_t)dim;
	rule->count = lay_cuts(s, dim, cuts);
	for (uint32_t i = 0; i < rule->count; i++) {
		uint64_t len = i + 1 < rule->count ? cuts[i + 1] - cuts[i] : 0;

		for (unsigned r = 0; r < s->ex->tp; r++)
			p[r] = piece_at(&s->found[r], dim, cuts[i], len);
		if (!fit_piece(s, p, &rule->pieces[i]))
			return false;
	}
	return rule->count > 0;
}

int wfs_learn_pad(struct wfs_learn *k, const struct wfs_member *m,
		  struct wfs_learnt_rule *rule)
{
	static const unsigned multiples[] = { 64, 128, 256, 512, 1024, 2048,
					      32, 16,  8,   4,	 2,    1 };
	const unsigned n = sizeof(multiples) / sizeof(*multiples);
	int rc = 0;

	rule->pieces[0].how[rule->pad_dim] = WFS_HOW_SPLIT;
	for (unsigned i = 0; i < 2 * n && !rc; i++) {
		rule->pad = multiples[i / 2];
		rule->pad_by_tp = i & 1;
		rc = wfs_rule_matches(k, rule, m);
	}
	return rc;
}

/* Zeros on some ranks: rank 0 alone has it, or rows are padded. */
static int fit_zeros(struct seen *s, struct wfs_learnt_rule *rule)
{
	const struct wfs_found_piece *p = &s->found[0].pieces[0];
	const struct wfs_rank *base = &s->learn->base->ranks[0];
	struct wfs_learnt_piece *to = rule->pieces;

	if (p->source < 0 ||
	    !lift_name(s, base->tensors[p->source].name, &to->source))
		return 0;
	to->merged = p->merged;
	to->ndim = (uint8_t)s->found[0].ndim;
	memcpy(to->full, p->full, sizeof(to->full));
	memcpy(to->len, p->full, sizeof(to->len));
	rule->count = 1;
	rule->first_only = s->ex->tp > 1 &&
			   !memcmp(p->len, p->full, to->ndim * sizeof(*p->len));
	if (rule->first_only && s->found[0].count == 1)
		return wfs_rule_matches(s->learn, rule, s->member);
	rule->first_only = false;
	for (unsigned r = 0; r < s->ex->tp; r++)
		if (s->found[r].count > 1)
			rule->pad_dim = (uint8_t)s->found[r].dim;
	return wfs_learn_pad(s->learn, s->member, rule);
}

static bool has_zeros(const struct seen *s)
{
	for (unsigned r = 0; r < s->ex->tp; r++)
		for (uint32_t i = 0; i < s->found[r].count; i++)
			if (s->found[r].pieces[i].source < 0)
				return true;
	return false;
}

static int fit(struct seen *s, const struct wfs_tensor *t,
	       struct wfs_learnt_rule *ret)
{
	int rc = look_at(s, t);

	if (rc <= 0) {
		*s->why = "its bytes are nowhere in the checkpoint";
		return rc;
	}
	set_aspect(s, t, ret);
	if (has_zeros(s)) {
		*s->why = "its ranks have parts of a tensor and zeros in no "
			  "way that is known";
		return fit_zeros(s, ret);
	}
	if (!fit_pieces(s, ret)) {
		*s->why = "its ranks have parts of tensors of the checkpoint "
			  "in no order that is known";
		return 0;
	}
	wfs_learn_heads(s->learn, s->member, ret);
	*s->why = "what explains it in one example makes other bytes in "
		  "another";
	return wfs_rule_matches(s->learn, ret, s->member);
}

int wfs_learn_fit(struct wfs_learn *k, const struct wfs_group *g,
		  const struct wfs_member *m, struct wfs_learnt_rule *ret,
		  const char **why)
{
	struct seen s = { .learn = k, .group = g, .member = m, .why = why };
	const struct wfs_tensor *t = wfs_learn_sample(k, m, &s.ex, &s.stage);
	int rc;

	*why = "its elements are smaller than a byte";
	if (!t || wfs_dtype_bits((enum wfs_dtype)t->dtype) < 8)
		return 0;
	s.found = wfs_calloc(s.ex->tp, sizeof(*s.found));
	rc = fit(&s, t, ret);
	free(s.found);
	return rc;
}
