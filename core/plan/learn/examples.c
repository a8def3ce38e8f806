/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples: which layout each dump is of, and the names of all of them in
 * groups: "model.layers.0.mlp.up.weight" and "model.layers.1.mlp.up.weight"
 * are one pattern with two layers.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/keys.h"
#include "core/base/text.h"
#include "core/plan/learn/inner.h"

#define DIGITS_MAX 6

__attribute__((format(printf, 1, 0))) static char *sentence_of(const char *fmt,
							       va_list ap)
{
	char text[WFS_ERR_TEXT];

	vsnprintf(text, sizeof(text), fmt, ap);
	return wfs_strdup(text);
}

void wfs_learn_note(struct wfs_learn *k, const char *fmt, ...)
{
	struct wfs_learnt *out = k->out;
	char *text;
	va_list ap;

	va_start(ap, fmt);
	text = sentence_of(fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < out->note_count; i++)
		if (!strcmp(out->notes[i], text)) {
			free(text);
			return;
		}
	out->notes = wfs_realloc(out->notes,
				 (out->note_count + 1) * sizeof(*out->notes));
	out->notes[out->note_count++] = text;
}

void wfs_learn_unexplained(struct wfs_learn *k, const char *name,
			   const char *fmt, ...)
{
	struct wfs_learnt *out = k->out;
	size_t n = out->unexplained_count + 1;
	va_list ap;

	out->unexplained =
		wfs_realloc(out->unexplained, n * sizeof(*out->unexplained));
	out->reasons = wfs_realloc(out->reasons, n * sizeof(*out->reasons));
	out->unexplained[n - 1] = wfs_strdup(name);
	va_start(ap, fmt);
	out->reasons[n - 1] = sentence_of(fmt, ap);
	va_end(ap);
	out->unexplained_count = n;
}

int wfs_learn_spec(const struct wfs_model *dump,
		   struct wfs_layout_spec *ret_spec, struct wfs_err *err)
{
	struct wfs_layout_spec spec = { .tp = dump->rank_count, .pp = 1 };
	const char *last;

	if (dump->format != WFS_FORMAT_SHARDED_STATE || !dump->rank_count)
		return wfs_err_set(err, -EINVAL,
				   "'%s' is %s, no dump of an engine "
				   "(model-rank-*-part-*.safetensors)",
				   dump->source->label,
				   wfs_model_format_name(dump->format));
	/* "pp-1-tp-3": in (pp, tp) order, and none is missing. */
	last = dump->ranks[dump->rank_count - 1].name;
	if (wfs_starts_with(last, "pp-")) {
		spec.pp = (unsigned)strtoul(last + 3, NULL, 10) + 1;
		spec.tp = dump->rank_count / spec.pp;
	}
	*ret_spec = spec;
	return 0;
}

const char *wfs_learn_digits(const char *name, int64_t *ret_value,
			     const char **ret_end)
{
	for (const char *s = name; s; s = strchr(s, '.')) {
		size_t len;

		s += *s == '.';
		len = strspn(s, "0123456789");
		if (!len || len > DIGITS_MAX || (s[len] && s[len] != '.') ||
		    (*s == '0' && len > 1))
			continue;
		*ret_value = strtoll(s, NULL, 10);
		*ret_end = s + len;
		return s;
	}
	return NULL;
}

const struct wfs_tensor *wfs_learn_tensor(const struct wfs_learn *k,
					  const struct wfs_example *ex,
					  const struct wfs_member *m,
					  unsigned stage, unsigned rank)
{
	const struct wfs_rank *r = &ex->dump->ranks[stage * ex->tp + rank];
	int64_t at = wfs_rank_find(r, m->file_name);

	(void)k;
	return at < 0 ? NULL : &r->tensors[at];
}

const struct wfs_tensor *wfs_learn_sample(const struct wfs_learn *k,
					  const struct wfs_member *m,
					  const struct wfs_example **ret_ex,
					  unsigned *ret_stage)
{
	const struct wfs_tensor *t = NULL;
	const struct wfs_example *best = NULL;

	for (size_t i = 0; i < k->example_count; i++) {
		const struct wfs_example *ex = &k->examples[i];

		for (unsigned s = 0; s < ex->pp; s++) {
			if (!(m->where >> (ex->place + s) & 1) ||
			    (best && ex->tp <= best->tp))
				continue;
			best = ex;
			t = wfs_learn_tensor(k, ex, m, s, 0);
			*ret_stage = s;
		}
	}
	*ret_ex = best;
	return t;
}

/* Equal words weigh more than any two that begin or end alike. */
static int like_words(const char *a, size_t n, const char *b, size_t m)
{
	size_t most = n < m ? n : m, head = 0, tail = 0;

	while (head < most && a[head] == b[head])
		head++;
	if (head == n && n == m)
		return 32;
	while (tail < most - head && a[n - 1 - tail] == b[m - 1 - tail])
		tail++;
	return head + tail < 31 ? (int)(head + tail) : 31;
}

int wfs_learn_likeness(const char *a, const char *b)
{
	int score = 0;

	while (*a) {
		size_t len = strcspn(a, ".");
		int best = 0;

		for (const char *s = b; *s;) {
			size_t n = strcspn(s, ".");
			int like = like_words(a, len, s, n);

			best = like > best ? like : best;
			s += n + (s[n] == '.');
		}
		score += best;
		a += len + (a[len] == '.');
	}
	return score;
}

/* Names of all stages, sorted, each once with the places that have it. */
static void gather_members(struct wfs_learn *k)
{
	struct wfs_key *keys wfs_autofree = NULL;
	struct wfs_member *m;
	size_t total = 0, n = 0;

	for (size_t i = 0; i < k->example_count; i++)
		for (uint32_t r = 0; r < k->examples[i].dump->rank_count; r++)
			total += k->examples[i].dump->ranks[r].count;
	keys = wfs_calloc(total + 1, sizeof(*keys));
	k->members = wfs_calloc(total + 1, sizeof(*k->members));
	m = wfs_calloc(total + 1, sizeof(*m));
	for (size_t i = 0; i < k->example_count; i++) {
		const struct wfs_example *ex = &k->examples[i];

		for (uint32_t r = 0; r < ex->dump->rank_count; r++)
			for (uint32_t t = 0; t < ex->dump->ranks[r].count;
			     t++, n++) {
				const struct wfs_tensor *x =
					&ex->dump->ranks[r].tensors[t];

				m[n].name = x->name;
				m[n].file_name = x->file_name;
				m[n].where = 1ull << (ex->place + r / ex->tp);
				keys[n].s = x->name;
				keys[n].len = (uint32_t)strlen(x->name);
				keys[n].tag = (uint32_t)n;
			}
	}
	wfs_keys_sort(keys, n);
	for (size_t i = 0; i < n; i++) {
		struct wfs_member *last = &k->members[k->member_count];

		if (k->member_count && !strcmp(last[-1].name, keys[i].s)) {
			last[-1].where |= m[keys[i].tag].where;
			continue;
		}
		*last = m[keys[i].tag];
		k->member_count++;
	}
	free(m);
}

/* The pattern of a name, its number replaced; and the number. */
static const char *pattern_of(struct wfs_learn *k, struct wfs_member *m)
{
	const char *end = NULL,
		   *at = wfs_learn_digits(m->name, &m->layer, &end);
	char *pattern;
	size_t head;

	if (!at) {
		m->layer = -1;
		return m->name;
	}
	head = (size_t)(at - m->name);
	pattern = wfs_pool_alloc(&k->pool, strlen(m->name) + 2, 0);
	memcpy(pattern, m->name, head);
	pattern[head] = WFS_AT_LAYER;
	strcpy(pattern + head + 1, end);
	return pattern;
}

static int32_t domain_of(struct wfs_learn *k, const char *pattern)
{
	const char *at = strchr(pattern, WFS_AT_LAYER);
	struct wfs_domain *d;
	size_t len;

	if (!at)
		return -1;
	len = (size_t)(at - pattern);
	for (uint32_t i = 0; i < k->domain_count; i++)
		if (strlen(k->domains[i].prefix) == len &&
		    !memcmp(k->domains[i].prefix, pattern, len))
			return (int32_t)i;
	k->domains = wfs_realloc(k->domains,
				 (k->domain_count + 1) * sizeof(*k->domains));
	d = &k->domains[k->domain_count];
	*d = (struct wfs_domain){
		.prefix = wfs_pool_text(&k->pool, pattern, len),
	};
	return (int32_t)k->domain_count++;
}

static int by_layer(const void *a, const void *b)
{
	const struct wfs_member *x = a, *y = b;

	return x->layer < y->layer ? -1 : x->layer > y->layer;
}

static void add_group(struct wfs_learn *k, const char *pattern,
		      struct wfs_member *members, uint32_t count)
{
	struct wfs_group g = { .pattern = pattern, .members = members };
	int64_t last;

	g.count = count;
	g.domain = domain_of(k, pattern);
	qsort(members, count, sizeof(*members), by_layer);
	last = members[count - 1].layer;
	if (g.domain >= 0 && (uint64_t)last >= k->domains[g.domain].count)
		k->domains[g.domain].count = (uint64_t)last + 1;
	for (size_t i = 0; i < k->example_count; i++) {
		const struct wfs_example *ex = &k->examples[i];
		const struct wfs_tensor *t = NULL;
		uint64_t n = 1;

		for (unsigned s = 0; s < ex->pp && !t; s++)
			t = wfs_learn_tensor(k, ex, members, s, 0);
		for (unsigned d = 0; t && d < t->ndim; d++)
			n *= t->shape[d];
		if (t && n > g.elements)
			g.elements = n;
	}
	k->groups[k->group_count++] = g;
}

static void gather_groups(struct wfs_learn *k)
{
	uint32_t n = k->member_count, first = 0;
	struct wfs_key *keys wfs_autofree =
		wfs_calloc((size_t)n + 1, sizeof(*keys));
	struct wfs_member *sorted = wfs_calloc((size_t)n + 1, sizeof(*sorted));

	k->groups = wfs_calloc((size_t)n + 1, sizeof(*k->groups));
	for (uint32_t i = 0; i < n; i++) {
		keys[i].s = pattern_of(k, &k->members[i]);
		keys[i].len = (uint32_t)strlen(keys[i].s);
		keys[i].tag = i;
	}
	wfs_keys_sort(keys, n);
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = k->members[keys[i].tag];
	free(k->members);
	k->members = sorted;
	for (uint32_t i = 1; i <= n; i++)
		if (i == n || wfs_key_compare(&keys[i], &keys[first])) {
			add_group(k, keys[first].s, &sorted[first], i - first);
			first = i;
		}
}

/* The index of most names is "l"; the others follow. */
static void name_domains(struct wfs_learn *k)
{
	uint32_t *names wfs_autofree =
		wfs_calloc((size_t)k->domain_count + 1, sizeof(*names));
	uint32_t most = 0;

	for (uint32_t i = 0; i < k->group_count; i++)
		if (k->groups[i].domain >= 0)
			names[k->groups[i].domain] += k->groups[i].count;
	for (uint32_t i = 0; i < k->domain_count; i++) {
		snprintf(k->domains[i].name, sizeof(k->domains[i].name), "l%u",
			 i + 2);
		if (names[i] > names[most])
			most = i;
	}
	if (k->domain_count) {
		strcpy(k->domains[most].name, "l");
		k->domains[most].pipeline = k->pipelined;
	}
}

int wfs_learn_examples(struct wfs_learn *k, struct wfs_model *const *dumps,
		       size_t count)
{
	k->examples = wfs_calloc(count + 1, sizeof(*k->examples));
	for (size_t i = 0; i < count; i++) {
		struct wfs_example *ex = &k->examples[i];
		struct wfs_layout_spec spec = { 0 };
		int rc = wfs_learn_spec(dumps[i], &spec, k->err);

		if (rc)
			return rc;
		*ex = (struct wfs_example){ dumps[i], spec.tp, spec.pp,
					    k->places };
		k->places += spec.pp;
		k->pipelined |= spec.pp > 1;
		k->shared |= spec.tp > 1;
		if (k->places > WFS_LEARN_PLACES)
			return wfs_err_set(k->err, -EINVAL,
					   "more than %u stages in all "
					   "examples: take fewer of them",
					   WFS_LEARN_PLACES);
	}
	k->example_count = count;
	gather_members(k);
	gather_groups(k);
	name_domains(k);
	return 0;
}
