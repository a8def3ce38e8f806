/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that differ in a second number, as experts that an engine keeps apart
 * do, become one rule with a second index: if they are complete from 0 on and
 * alike in all else.
 */
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/learn/inner.h"

/* A rule as it would be with a second index. */
struct second {
	int64_t value; /* -1: it has no second number */
	const char *target;
	const char *sources[WFS_LEARN_PIECES];
};

/* The first number that is `value` (any if it is -1) as an index; NULL: there
   is none. */
static const char *replace(struct wfs_learn *k, const char *pattern,
			   int64_t *value)
{
	const char *from = pattern, *at, *end;
	int64_t found;

	while ((at = wfs_learn_digits(from, &found, &end))) {
		char *made wfs_autofree = NULL;

		from = end;
		if (*value >= 0 && found != *value)
			continue;
		*value = found;
		made = wfs_asprintf("%.*s%c%s", (int)(at - pattern), pattern,
				    WFS_AT_SECOND, end);
		return wfs_pool_text(&k->pool, made, strlen(made));
	}
	return NULL;
}

static void see(struct wfs_learn *k, const struct wfs_learnt_rule *rule,
		struct second *to)
{
	to->value = -1;
	to->target = rule->domain < 0 ? NULL :
					replace(k, rule->target, &to->value);
	for (uint32_t i = 0; i < rule->count && to->target; i++) {
		to->sources[i] = replace(k, rule->pieces[i].source, &to->value);
		if (!to->sources[i])
			to->target = NULL;
	}
}

static bool same_piece(const struct wfs_learnt_piece *a,
		       const struct wfs_learnt_piece *b)
{
	return a->merged == b->merged && a->ndim == b->ndim &&
	       !memcmp(a->how, b->how, sizeof(a->how)) &&
	       !memcmp(a->start, b->start, sizeof(a->start)) &&
	       !memcmp(a->len, b->len, sizeof(a->len)) &&
	       !memcmp(a->full, b->full, sizeof(a->full));
}

static bool same_numbers(const struct wfs_learnt_rule *a,
			 const struct wfs_learnt_rule *b)
{
	return a->dtype == b->dtype && a->cast == b->cast &&
	       a->transposed == b->transposed && a->constant == b->constant &&
	       a->first_only == b->first_only && a->pad == b->pad &&
	       a->pad_by_tp == b->pad_by_tp && a->pad_dim == b->pad_dim &&
	       a->dim == b->dim && a->ndim == b->ndim && a->stack == b->stack &&
	       a->count == b->count && !memcmp(a->bits, b->bits, 8) &&
	       !memcmp(a->shape, b->shape, sizeof(a->shape)) &&
	       !memcmp(a->shared, b->shared, sizeof(a->shared));
}

static bool same_rule(const struct wfs_learnt_rule *a, const struct second *x,
		      const struct wfs_learnt_rule *b, const struct second *y)
{
	if (!y->target || strcmp(x->target, y->target) || !same_numbers(a, b) ||
	    a->when != b->when || a->where != b->where ||
	    a->layer_count != b->layer_count ||
	    memcmp(a->layers, b->layers, a->layer_count * sizeof(*a->layers)) ||
	    (a->exists && strcmp(a->exists, b->exists)))
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (strcmp(x->sources[i], y->sources[i]) ||
		    !same_piece(&a->pieces[i], &b->pieces[i]))
			return false;
	return true;
}

/* The index of that many values, named x, x2, …; those of the layers are
   others. */
static int32_t index_of(struct wfs_learn *k, uint64_t count)
{
	struct wfs_domain *d;
	uint32_t n = 1;

	for (uint32_t i = 0; i < k->domain_count; i++) {
		if (k->domains[i].prefix)
			continue;
		if (k->domains[i].count == count)
			return (int32_t)i;
		n++;
	}
	k->domains = wfs_realloc(k->domains,
				 (k->domain_count + 1) * sizeof(*k->domains));
	d = &k->domains[k->domain_count];
	*d = (struct wfs_domain){ .count = count };
	snprintf(d->name, sizeof(d->name), n > 1 ? "x%u" : "x", n);
	return (int32_t)k->domain_count++;
}

/* Rules like `first`, if they are complete: their number, else 0. */
static uint64_t find_like(const struct wfs_learn *k, const struct second *s,
			  uint32_t first, bool *like)
{
	uint64_t n = 0, sum = 0;

	memset(like, 0, k->rule_count);
	for (uint32_t i = first; i < k->rule_count; i++) {
		like[i] = same_rule(&k->rules[first], &s[first], &k->rules[i],
				    &s[i]);
		n += like[i];
		sum += like[i] ? (uint64_t)s[i].value : 0;
	}
	for (uint32_t i = first; i < k->rule_count; i++)
		if (like[i] && (uint64_t)s[i].value >= n)
			return 0;
	return n > 1 && sum == n * (n - 1) / 2 ? n : 0;
}

void wfs_learn_merge(struct wfs_learn *k)
{
	struct second *s wfs_autofree =
		wfs_calloc((size_t)k->rule_count + 1, sizeof(*s));
	bool *like wfs_autofree = wfs_calloc((size_t)k->rule_count + 1, 1);
	bool *gone wfs_autofree = wfs_calloc((size_t)k->rule_count + 1, 1);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < k->rule_count; i++)
		see(k, &k->rules[i], &s[i]);
	for (uint32_t i = 0; i < k->rule_count; i++) {
		struct wfs_learnt_rule *rule = &k->rules[i];
		uint64_t n = gone[i] || !s[i].target ? 0 :
						       find_like(k, s, i, like);

		if (!n)
			continue;
		for (uint32_t j = i + 1; j < k->rule_count; j++)
			gone[j] = gone[j] || like[j];
		rule->second = index_of(k, n);
		/* `like` was compared by these: no later rule is alike. */
		rule->target = s[i].target;
		s[i].target = NULL;
		for (uint32_t p = 0; p < rule->count; p++)
			rule->pieces[p].source = s[i].sources[p];
	}
	for (uint32_t i = 0; i < k->rule_count; i++)
		if (!gone[i])
			k->rules[kept++] = k->rules[i];
	k->rule_count = kept;
}
