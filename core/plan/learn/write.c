/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules as the text of a plan, which then goes through the parser like any
 * other.
 */
#include <inttypes.h>
#include <string.h>

#include "core/plan/learn/inner.h"
#include "core/plan/learn/write.h"

#define HEADS	   "num_attention_heads"
#define KV	   "num_key_value_heads"
#define VOCABULARY 64u /* rows, to a multiple of which engines pad them */

/* Texts have no escapes. */
bool wfs_write_possible(const char *pattern)
{
	return !strpbrk(pattern, "\"{}\n");
}

void wfs_write_name(const struct wfs_learn *k,
		    const struct wfs_learnt_rule *rule, const char *pattern,
		    struct wfs_text *text)
{
	wfs_text_add(text, "\"");
	for (; *pattern; pattern++) {
		if (*pattern == WFS_AT_LAYER)
			wfs_text_add(text, "{%s}",
				     k->domains[rule->domain].name);
		else if (*pattern == WFS_AT_STACK)
			wfs_text_add(text, "{e}");
		else if (*pattern == WFS_AT_SECOND)
			wfs_text_add(text, "{%s}",
				     k->domains[rule->second].name);
		else
			wfs_text_add_bytes(text, pattern, 1);
	}
	wfs_text_add(text, "\"");
}

static void add_condition(const struct wfs_learn *k,
			  const struct wfs_learnt_rule *rule,
			  struct wfs_text *text)
{
	const char *index = rule->domain < 0 ? "" :
					       k->domains[rule->domain].name;

	if (rule->when == WFS_WHEN_SOURCES) {
		wfs_text_add(text, " optional");
	} else if (rule->when == WFS_WHEN_EXISTS) {
		wfs_text_add(text, " when exists(");
		wfs_write_name(k, rule, rule->exists, text);
		wfs_text_add(text, ")");
	} else if (rule->when == WFS_WHEN_LISTED) {
		for (uint32_t i = 0; i < rule->layer_count; i++)
			wfs_text_add(text, "%s%s == %" PRId64,
				     i ? " or " : " when ", index,
				     rule->layers[i]);
	}
}

static void add_rule(const struct wfs_learn *k,
		     const struct wfs_learnt_rule *rule, struct wfs_text *text)
{
	static const char *const stages[] = { "", "first", "last", "all" };
	bool pipeline = k->pipelined && rule->domain >= 0 &&
			k->domains[rule->domain].pipeline;

	wfs_text_add(text, "tensor ");
	wfs_write_name(k, rule, rule->target, text);
	if (!pipeline)
		wfs_text_add(text, " stage %s", stages[rule->stage]);
	if (rule->storage)
		wfs_text_add(text, " storage s%u", rule->storage);
	add_condition(k, rule, text);
	if (rule->cast)
		wfs_text_add(text, " as \"%s\"", wfs_dtype_name(rule->dtype));
	wfs_text_add(text, " =\n    ");
	wfs_write_value(k, rule, text);
	wfs_text_add(text, "\n");
	wfs_write_expects(k, rule, text);
}

static bool is_writable(const struct wfs_learnt_rule *rule)
{
	bool is = wfs_write_possible(rule->target) &&
		  (!rule->constant || wfs_write_number(rule, NULL)) &&
		  rule->stage <= WFS_STAGE_ALL;

	for (uint32_t i = 0; i < rule->count; i++)
		is = is && wfs_write_possible(rule->pieces[i].source);
	return is;
}

static int by_target(const void *a, const void *b)
{
	const struct wfs_learnt_rule *x = a, *y = b;
	int order = strcmp(x->target, y->target);

	return order ? order :
		       (x->layers[0] > y->layers[0]) -
			       (x->layers[0] < y->layers[0]);
}

static void add_indices(const struct wfs_learn *k, struct wfs_text *text)
{
	static const char *const layers[] = { "num_hidden_layers", "n_layer",
					      "num_layers", "n_layers", NULL };
	static const char *const ways[] = { "before_last", "first", "last" };

	for (uint32_t i = 0; i < k->domain_count; i++) {
		const struct wfs_domain *d = &k->domains[i];
		bool main = !strcmp(d->name, "l");

		wfs_text_add(text, "index %s = ", d->name);
		wfs_number_text(k, d->count,
				main	  ? layers :
				d->prefix ? layers + 4 :
					    wfs_expert_counts,
				text);
		wfs_text_add(text, "\n");
		if (d->pipeline)
			wfs_text_add(text, "pipeline %s leftover %s\n", d->name,
				     ways[k->leftover]);
	}
}

/* Does any rule split the rows of the vocabulary without padding them? */
static bool splits_vocabulary(const struct wfs_learn *k, uint64_t rows)
{
	for (uint32_t r = 0; r < k->rule_count; r++)
		for (uint32_t i = 0; i < k->rules[r].count; i++) {
			const struct wfs_learnt_piece *p =
				&k->rules[r].pieces[i];

			if (!k->rules[r].pad && p->full[0] == rows &&
			    p->how[0] == WFS_HOW_SPLIT)
				return true;
		}
	return false;
}

static bool divides(const struct wfs_learn *k, const char *key)
{
	uint64_t n;

	if (!wfs_config_number(k, key, &n) || !n)
		return false;
	for (size_t i = 0; i < k->example_count; i++)
		if (n % k->examples[i].tp)
			return false;
	return true;
}

/* What the examples do not show is refused, not guessed. */
static void add_requires(struct wfs_learn *k, struct wfs_text *text)
{
	uint64_t rows;

	if (!k->shared) {
		wfs_text_add(text,
			     "require tp == 1 otherwise \"the plan was learnt "
			     "from tp1 alone, which does not tell how {tp} "
			     "ranks share: learn it again with a dump of tp2\""
			     "\n");
		wfs_learn_note(k, "all examples are tp1: other tp are refused");
		return;
	}
	if (divides(k, HEADS)) {
		wfs_text_add(text, "require config." HEADS " %% tp == 0 "
				   "otherwise \"its attention heads (" HEADS
				   ") cannot be shared equally by {tp} ranks: "
				   "take a tp that divides them\"\n");
		wfs_learn_note(k, "tp must divide config." HEADS);
	}
	if (divides(k, KV) && !wfs_learn_knows_heads(k)) {
		wfs_text_add(text,
			     "require config." KV " %% tp == 0 "
			     "otherwise \"the plan does not tell how {tp} "
			     "ranks share its key/value heads (" KV
			     "): learn it from a model that has fewer of "
			     "them than heads\"\n");
		wfs_learn_note(k, "tp must divide config." KV);
	}
	if (wfs_config_number(k, "vocab_size", &rows) &&
	    rows % VOCABULARY == 0 && splits_vocabulary(k, rows)) {
		wfs_text_add(text,
			     "require config.vocab_size %% %u == 0 "
			     "otherwise \"the plan does not tell how a "
			     "vocabulary is padded: learn it from a model "
			     "whose vocab_size is no multiple of %u\"\n",
			     VOCABULARY, VOCABULARY);
		wfs_learn_note(k,
			       "config.vocab_size must be a multiple of %u: "
			       "the examples do not tell whether rows are "
			       "padded",
			       VOCABULARY);
	}
}

static void add_comments(const struct wfs_learn *k, struct wfs_text *text)
{
	const struct wfs_learnt *out = k->out;
	char line[WFS_ERR_TEXT];

	wfs_text_add(text, "# Learnt from dumps of '");
	wfs_text_escape(k->base->name, line, sizeof(line));
	wfs_text_add(text, "%s':", line);
	for (size_t i = 0; i < k->example_count; i++) {
		wfs_text_add(text, " tp%u", k->examples[i].tp);
		if (k->examples[i].pp > 1)
			wfs_text_add(text, "pp%u", k->examples[i].pp);
	}
	wfs_text_add(text, "\n");
	if (out->note_count)
		wfs_text_add(text, "#\n# Decided, where bytes do not tell:\n");
	for (size_t i = 0; i < out->note_count; i++) {
		wfs_text_escape(out->notes[i], line, sizeof(line));
		wfs_text_add(text, "#   %s\n", line);
	}
	if (out->unexplained_count)
		wfs_text_add(text, "#\n# Not explained, so not made:\n");
	for (size_t i = 0; i < out->unexplained_count; i++) {
		wfs_text_escape(out->unexplained[i], line, sizeof(line));
		wfs_text_add(text, "#   %s: %s\n", line, out->reasons[i]);
	}
}

int wfs_learn_write(struct wfs_learn *k)
{
	struct wfs_text body = { 0 }, *text = &k->out->plan;
	int rc = wfs_write_head(k, &body);

	if (rc) {
		free(body.data);
		return rc;
	}
	add_indices(k, &body);
	add_requires(k, &body);
	wfs_text_add(&body, "\n");
	if (k->rule_count)
		qsort(k->rules, k->rule_count, sizeof(*k->rules), by_target);
	for (uint32_t i = 0; i < k->rule_count; i++) {
		const struct wfs_learnt_rule *rule = &k->rules[i];

		if (!rule->stage && !(k->pipelined && rule->domain >= 0 &&
				      k->domains[rule->domain].pipeline))
			continue;
		if (!is_writable(rule)) {
			wfs_learn_unexplained(k, rule->group->members[0].name,
					      "it cannot be written in a plan");
			continue;
		}
		add_rule(k, rule, &body);
		k->out->rules++;
		k->out->tensors +=
			rule->layer_count *
			(rule->second ? k->domains[rule->second].count : 1);
	}
	wfs_learn_drops(k, &body);
	add_comments(k, text);
	wfs_text_add(text, "%s", body.data);
	free(body.data);
	return 0;
}
