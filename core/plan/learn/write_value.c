/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of a rule as an expression.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/plan/learn/write.h"

#define KV     "config.num_key_value_heads"
#define DIGITS 18

static const struct wfs_tensor *source_of(const struct wfs_learn *k,
					  const struct wfs_learnt_rule *rule,
					  const struct wfs_learnt_piece *p)
{
	struct wfs_pool pool = { 0 };
	int64_t at =
		wfs_source_find(k->base, wfs_pattern_fill(&pool, p->source,
							  rule->layers[0], 0));

	wfs_pool_clear(&pool);
	return &k->base->ranks[0].tensors[at];
}

/* Its last two dims as one, or a scalar as a row of one. */
static void add_merged(const struct wfs_learn *k,
		       const struct wfs_learnt_rule *rule,
		       const struct wfs_learnt_piece *p, struct wfs_text *text)
{
	struct wfs_text name = { 0 };

	wfs_write_name(k, rule, p->source, &name);
	if (source_of(k, rule, p)->ndim < 2) {
		wfs_text_add(text, "reshape([%s], %s)", p->ndim ? "1" : "",
			     name.data);
	} else {
		wfs_text_add(text, "reshape([");
		for (unsigned d = 0; d + 1 < p->ndim; d++)
			wfs_text_add(text, "dim(%s, %u), ", name.data, d);
		wfs_text_add(text, "dim(%s, %u) * dim(%s, %u)], %s)", name.data,
			     p->ndim - 1u, name.data, p->ndim, name.data);
	}
	free(name.data);
}

/* Where a region begins: after those of the pieces before it, if it does. */
static void add_start(const struct wfs_learn *k,
		      const struct wfs_learnt_rule *rule, uint32_t piece,
		      unsigned d, struct wfs_text *text)
{
	const struct wfs_learnt_piece *p = &rule->pieces[piece];
	uint32_t first = piece;
	uint64_t sum = 0;

	while (first && sum < p->start[d] &&
	       !strcmp(rule->pieces[first - 1].source, p->source))
		sum += rule->pieces[--first].len[d];
	if (!sum || sum != p->start[d]) {
		wfs_text_add(text, "%" PRIu64, p->start[d]);
		return;
	}
	for (uint32_t i = first; i < piece; i++) {
		if (i > first)
			wfs_text_add(text, " + ");
		wfs_region_text(k, rule, i, d, text);
	}
}

/* x -> op(…, x, …): puts `head` before what came since `from`. */
static void wrap(struct wfs_text *text, size_t from, const char *head)
{
	char *tail wfs_autofree = wfs_strdup(text->data + from);

	text->len = from;
	wfs_text_add(text, "%s%s", head, tail);
}

/* What opens around a piece for a dim; close_dim has the other ends. */
static void open_dim(const struct wfs_learn *k,
		     const struct wfs_learnt_rule *rule, uint32_t piece,
		     unsigned d, struct wfs_text *text)
{
	const struct wfs_learnt_piece *p = &rule->pieces[piece];

	if (p->how[d] == WFS_HOW_HEADS)
		wfs_text_add(text, "share(%u, ", d);
	else if (p->how[d] != WFS_HOW_WHOLE)
		wfs_text_add(text, "split(%u, ", d);
	if (rule->pad && rule->pad_dim == d)
		wfs_text_add(text, "pad(%u, %" PRIu64 "%s, ", d, rule->pad,
			     rule->pad_by_tp ? " * tp" : "");
	if (p->start[d] || p->len[d] != p->full[d]) {
		wfs_text_add(text, "slice(%u, ", d);
		add_start(k, rule, piece, d, text);
		wfs_text_add(text, ", ");
		wfs_region_text(k, rule, piece, d, text);
		wfs_text_add(text, ", ");
	}
}

/* From inside. */
static void close_dim(const struct wfs_learnt_rule *rule,
		      const struct wfs_learnt_piece *p, unsigned d,
		      struct wfs_text *text)
{
	if (p->start[d] || p->len[d] != p->full[d])
		wfs_text_add(text, ")");
	if (rule->pad && rule->pad_dim == d)
		wfs_text_add(text, ")");
	if (p->how[d] == WFS_HOW_HEADS || p->how[d] == WFS_HOW_PARTS)
		wfs_text_add(text, ", " KV ")");
	else if (p->how[d] == WFS_HOW_SPLIT)
		wfs_text_add(text, ")");
}

static void add_piece(const struct wfs_learn *k,
		      const struct wfs_learnt_rule *rule, uint32_t piece,
		      struct wfs_text *text)
{
	const struct wfs_learnt_piece *p = &rule->pieces[piece];
	size_t from = text->len;

	for (unsigned d = p->ndim; d--;)
		open_dim(k, rule, piece, d, text);
	if (p->merged)
		add_merged(k, rule, p, text);
	else
		wfs_write_name(k, rule, p->source, text);
	for (unsigned d = 0; d < p->ndim; d++)
		close_dim(rule, p, d, text);
	if (!rule->first_only)
		return;
	wrap(text, from, "if(rank == 0, ");
	wfs_text_add(text, ", const(\"%s\", [", wfs_dtype_name(rule->dtype));
	for (unsigned d = 0; d < p->ndim; d++) {
		wfs_text_add(text, "%sdim(", d ? ", " : "");
		wfs_write_name(k, rule, p->source, text);
		wfs_text_add(text, ", %u)", d);
	}
	wfs_text_add(text, "], 0))");
}

/* The bits of a constant as a number; false where it is none. */
static bool value_of(const struct wfs_learnt_rule *rule, double *ret)
{
	uint64_t bits;
	uint32_t narrow;
	float f;
	double d;

	memcpy(&bits, rule->bits, sizeof(bits));
	narrow = (uint32_t)bits;
	if (!bits) {
		*ret = 0;
		return true;
	}
	if (rule->dtype == WFS_BF16)
		narrow <<= 16;
	else if (rule->dtype == WFS_F16)
		wfs_cast_run(WFS_CAST_F16_F32, &narrow, rule->bits, 1);
	memcpy(&f, &narrow, sizeof(f));
	memcpy(&d, &bits, sizeof(d));
	if (rule->dtype == WFS_I32)
		*ret = (int32_t)bits;
	else if (rule->dtype == WFS_I64)
		*ret = (double)(int64_t)bits;
	else if (rule->dtype == WFS_F64)
		*ret = d;
	else if (rule->dtype == WFS_F32 || rule->dtype == WFS_BF16 ||
		 rule->dtype == WFS_F16)
		*ret = f;
	else
		return false;
	/* Without a sign there is no minus zero. */
	return isfinite(*ret) && (*ret > 0 || *ret < 0);
}

bool wfs_write_number(const struct wfs_learnt_rule *rule, struct wfs_text *text)
{
	double value = 0, back;
	char digits[64];

	if (!value_of(rule, &value))
		return false;
	if (value >= 0 ? value < 1e15 && floor(value) >= value :
			 value > -1e15 && ceil(value) <= value)
		snprintf(digits, sizeof(digits), "%.0f", value);
	else
		snprintf(digits, sizeof(digits), "%.24f", value);
	/* A number of a plan has no exponent, and so many digits. */
	if (strlen(digits) > DIGITS)
		for (char *c = digits + strlen(digits); *--c == '0';)
			*c = '\0';
	if (strlen(digits) > DIGITS)
		return false;
	back = strtod(digits, NULL);
	if (back < value || back > value)
		return false;
	if (text)
		wfs_text_add(text, "%s", digits);
	return true;
}

static void add_constant(const struct wfs_learn *k,
			 const struct wfs_learnt_rule *rule,
			 struct wfs_text *text)
{
	static const char *const sizes[] = {
		"num_experts", "num_local_experts", "n_routed_experts",
		"hidden_size", "intermediate_size", "moe_intermediate_size",
		NULL
	};

	wfs_text_add(text, "const(\"%s\", [", wfs_dtype_name(rule->dtype));
	for (unsigned d = 0; d < rule->ndim; d++) {
		wfs_text_add(text, "%s", d ? ", " : "");
		if (rule->shape[d] == 1)
			wfs_text_add(text, "1");
		else
			wfs_number_text(k, rule->shape[d], sizes, text);
		wfs_text_add(text, "%s", rule->shared[d] ? " / tp" : "");
	}
	wfs_text_add(text, "], ");
	wfs_write_number(rule, text);
	wfs_text_add(text, ")");
}

void wfs_write_value(const struct wfs_learn *k,
		     const struct wfs_learnt_rule *rule, struct wfs_text *text)
{
	const struct wfs_learnt_piece *p = rule->pieces;
	unsigned ndim = rule->count ? p->ndim + (rule->stack > 0) : 0;

	if (rule->constant) {
		add_constant(k, rule, text);
		return;
	}
	if (rule->transposed)
		wfs_text_add(text, "transpose(%u, %u, ", ndim - 2, ndim - 1);
	if (rule->stack) {
		wfs_text_add(text, "stack(e, ");
		wfs_number_text(k, rule->stack, wfs_expert_counts, text);
		wfs_text_add(text, ", ");
	}
	if (rule->count > 1)
		wfs_text_add(text, "concat(%u,\n        ", rule->dim);
	for (uint32_t i = 0; i < rule->count; i++) {
		if (i)
			wfs_text_add(text, ",\n        ");
		add_piece(k, rule, i, text);
	}
	wfs_text_add(text, "%s%s%s", rule->count > 1 ? ")" : "",
		     rule->stack ? ")" : "", rule->transposed ? ")" : "");
}

void wfs_write_expects(const struct wfs_learn *k,
		       const struct wfs_learnt_rule *rule,
		       struct wfs_text *text)
{
	for (uint32_t i = 0; i < rule->count; i++) {
		const struct wfs_learnt_piece *p = &rule->pieces[i];
		struct wfs_text words = { 0 };
		bool digits = false;

		for (unsigned d = 0; d < p->ndim; d++) {
			if (!p->start[d] && p->len[d] == p->full[d])
				continue;
			digits = !wfs_region_text(k, rule, i, d, &words) ||
				 digits;
		}
		free(words.data);
		if (!digits || p->merged || strchr(p->source, WFS_AT_STACK))
			continue;
		wfs_text_add(text, "expect ");
		wfs_write_name(k, rule, p->source, text);
		wfs_text_add(text, " ");
		wfs_shape_add(text, p->full, p->ndim);
		wfs_text_add(text, "\n");
	}
}
