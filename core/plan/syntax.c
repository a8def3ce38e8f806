/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions: precedence climbing over a handful of operators, calls, and
 * texts with places in braces.  Names are resolved here, so that a wrong one
 * is found when the plan is read and not when a model needs it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan/lex.h"

static const struct {
	const char *sign;
	enum wfs_binary op;
	int level;
} binaries[] = {
	{ "or", WFS_BINARY_OR, 1 },    { "and", WFS_BINARY_AND, 2 },
	{ "==", WFS_BINARY_EQ, 3 },    { "!=", WFS_BINARY_NE, 3 },
	{ "<=", WFS_BINARY_LE, 3 },    { ">=", WFS_BINARY_GE, 3 },
	{ "<", WFS_BINARY_LT, 3 },     { ">", WFS_BINARY_GT, 3 },
	{ "in", WFS_BINARY_IN, 3 },    { "??", WFS_BINARY_ELSE, 4 },
	{ "+", WFS_BINARY_ADD, 5 },    { "-", WFS_BINARY_SUB, 5 },
	{ "*", WFS_BINARY_MUL, 6 },    { "/", WFS_BINARY_DIV, 6 },
	{ "//", WFS_BINARY_FLOOR, 6 }, { "%", WFS_BINARY_MOD, 6 },
};

static const struct {
	const char *name;
	uint32_t least, most; /* arguments */
} ops[WFS_OP_COUNT] = {
	[WFS_OP_SPLIT] = { "split", 2, 3 },
	[WFS_OP_SHARE] = { "share", 3, 3 },
	[WFS_OP_CONCAT] = { "concat", 2, WFS_PLAN_ARGS },
	[WFS_OP_SLICE] = { "slice", 4, 4 },
	[WFS_OP_STACK] = { "stack", 3, 3 },
	[WFS_OP_PAD] = { "pad", 3, 3 },
	[WFS_OP_TRANSPOSE] = { "transpose", 3, 3 },
	[WFS_OP_RESHAPE] = { "reshape", 2, 2 },
	[WFS_OP_CAST] = { "cast", 2, 2 },
	[WFS_OP_CONST] = { "const", 3, 3 },
	[WFS_OP_REPLICATE] = { "replicate", 1, 1 },
	[WFS_OP_IF] = { "if", 3, 3 },
	[WFS_OP_DIM] = { "dim", 2, 2 },
	[WFS_OP_EXISTS] = { "exists", 1, 1 },
	[WFS_OP_SAME] = { "same", 2, 2 },
	[WFS_OP_MODULES] = { "modules", 1, 2 },
	[WFS_OP_MATCHES] = { "matches", 2, 2 },
	[WFS_OP_ITEM] = { "item", 2, 2 },
};

struct wfs_node *wfs_node_new(struct wfs_parser *p, enum wfs_node_kind kind)
{
	struct wfs_node *n;

	if (++p->nodes > WFS_PLAN_NODES) {
		wfs_parse_fail(p, NULL, "more than %u parts of expressions",
			       WFS_PLAN_NODES);
		return NULL;
	}
	n = wfs_pool_alloc(&p->plan->pool, sizeof(*n), 1);
	memset(n, 0, sizeof(*n));
	n->kind = kind;
	n->line = p->word.line;
	n->file = p->file;
	return n;
}

void wfs_node_set_args(struct wfs_parser *p, struct wfs_node *n,
		       const struct wfs_node **args, uint32_t count)
{
	n->args = wfs_pool_alloc(&p->plan->pool, (count + 1) * sizeof(*n->args),
				 1);
	memcpy(n->args, args, count * sizeof(*args));
	n->count = count;
}

const struct wfs_node *wfs_node_and(struct wfs_parser *p,
				    const struct wfs_node *a,
				    const struct wfs_node *b)
{
	const struct wfs_node *args[2] = { a, b };
	struct wfs_node *n;

	if (!a || !b)
		return a ? a : b;
	n = wfs_node_new(p, WFS_NODE_BINARY);
	if (!n)
		return NULL;
	n->slot = WFS_BINARY_AND;
	wfs_node_set_args(p, n, args, 2);
	return n;
}

/* `( a, b )` or `[ a, b ]`: the arguments into `n`. */
static bool parse_args(struct wfs_parser *p, struct wfs_node *n,
		       const char *open, const char *close)
{
	const struct wfs_node *args[WFS_PLAN_ARGS];
	uint32_t count = 0;

	if (!wfs_parse_take(p, open))
		return false;
	while (!wfs_word_is(p, close)) {
		if (count == WFS_PLAN_ARGS) {
			wfs_parse_fail(p, NULL, "more than %u arguments",
				       WFS_PLAN_ARGS);
			return false;
		}
		args[count] = wfs_parse_expression(p);
		if (!args[count++])
			return false;
		if (!wfs_word_is(p, close) && !wfs_parse_take(p, ","))
			return false;
	}
	wfs_node_set_args(p, n, args, count);
	return wfs_lex_next(p);
}

static const struct wfs_node *parse_list(struct wfs_parser *p)
{
	struct wfs_node *n = wfs_node_new(p, WFS_NODE_LIST);

	return n && parse_args(p, n, "[", "]") ? n : NULL;
}

/* `stack(e, count, value)`: e is known in the value only. */
static const struct wfs_node *parse_stack(struct wfs_parser *p)
{
	struct wfs_node *n = wfs_node_new(p, WFS_NODE_APPLY);
	const struct wfs_node *args[2];
	struct wfs_plan *plan = p->plan;
	uint32_t at = plan->index_count;

	if (!n || !wfs_parse_take(p, "("))
		return NULL;
	if (p->word.kind != WFS_WORD_NAME || at == WFS_PLAN_INDICES) {
		wfs_parse_fail(p, NULL, "the name of an index expected");
		return NULL;
	}
	memset(&plan->indices[at], 0, sizeof(plan->indices[at]));
	plan->indices[at].name = wfs_word_keep(p);
	n->slot = WFS_OP_STACK;
	n->number = at;
	if (!wfs_lex_next(p) || !wfs_parse_take(p, ","))
		return NULL;
	args[0] = wfs_parse_expression(p);
	if (!args[0] || !wfs_parse_take(p, ","))
		return NULL;
	plan->index_count = at + 1;
	args[1] = wfs_parse_expression(p);
	/* Out of sight, but its slot stays taken. */
	plan->indices[at].name = "";
	if (!args[1] || !wfs_parse_take(p, ")"))
		return NULL;
	wfs_node_set_args(p, n, args, 2);
	return n;
}

static const struct wfs_node *parse_apply(struct wfs_parser *p,
					  const struct wfs_word *name)
{
	struct wfs_node *n;

	for (int i = 0; i < WFS_OP_COUNT; i++) {
		if (!wfs_word_same(ops[i].name, name->s, name->len))
			continue;
		if (i == WFS_OP_STACK)
			return parse_stack(p);
		n = wfs_node_new(p, WFS_NODE_APPLY);
		if (!n || !parse_args(p, n, "(", ")"))
			return NULL;
		n->slot = i;
		if (n->count >= ops[i].least && n->count <= ops[i].most)
			return n;
		wfs_parse_fail(p, name, "'%s' takes %u to %u arguments, not %u",
			       ops[i].name, ops[i].least, ops[i].most,
			       n->count);
		return NULL;
	}
	for (uint32_t i = 0; i < p->plan->def_count; i++) {
		if (!wfs_word_same(p->plan->defs[i].name, name->s, name->len))
			continue;
		n = wfs_node_new(p, WFS_NODE_CALL);
		if (!n || !parse_args(p, n, "(", ")"))
			return NULL;
		n->slot = (int)i;
		if (n->count == p->plan->defs[i].params)
			return n;
		wfs_parse_fail(p, name, "'%s' takes %u arguments, not %u",
			       p->plan->defs[i].name, p->plan->defs[i].params,
			       n->count);
		return NULL;
	}
	wfs_parse_fail(p, name, "no operation '%.*s'",
		       (int)(name->len > 60 ? 60 : name->len), name->s);
	return NULL;
}

/* config.a.b.c */
static const struct wfs_node *parse_config(struct wfs_parser *p)
{
	struct wfs_node *n = wfs_node_new(p, WFS_NODE_CONFIG);
	const char *start = NULL, *end = NULL;

	while (n && wfs_word_is(p, ".")) {
		if (!wfs_lex_next(p))
			return NULL;
		if (p->word.kind != WFS_WORD_NAME)
			break;
		start = start ? start : p->word.s;
		end = p->word.s + p->word.len;
		if (!wfs_lex_next(p))
			return NULL;
	}
	if (!n || !end) {
		wfs_parse_fail(p, NULL, "'config' needs a key: config.key");
		return NULL;
	}
	n->text = wfs_pool_text(&p->plan->pool, start, (size_t)(end - start));
	if (strpbrk(n->text, " \t\r\n#")) {
		wfs_parse_fail(p, NULL, "a key of 'config' has no spaces");
		return NULL;
	}
	return n;
}

static const struct wfs_node *parse_name(struct wfs_parser *p)
{
	static const char *const fixed[] = { "null", "false", "true" };
	const struct wfs_word name = p->word;
	struct wfs_node *n;

	if (wfs_word_is_keyword(&name)) {
		wfs_parse_fail(p, NULL, "a value expected, not '%.*s'",
			       (int)name.len, name.s);
		return NULL;
	}
	if (!wfs_lex_next(p))
		return NULL;
	if (wfs_word_same("config", name.s, name.len))
		return parse_config(p);
	for (int i = 0; i < 3; i++) {
		if (!wfs_word_same(fixed[i], name.s, name.len))
			continue;
		n = wfs_node_new(p, i ? WFS_NODE_BOOL : WFS_NODE_NULL);
		if (n)
			n->number = i == 2;
		return n;
	}
	if (wfs_word_is(p, "("))
		return parse_apply(p, &name);
	n = wfs_parse_resolve(p, name.s, name.len);
	if (!n)
		wfs_parse_fail(p, &name,
			       "nothing is called '%.*s' (config.json"
			       " is asked with config.%.*s)",
			       (int)(name.len > 60 ? 60 : name.len), name.s,
			       (int)(name.len > 60 ? 60 : name.len), name.s);
	return n;
}

static const struct wfs_node *parse_number(struct wfs_parser *p)
{
	bool whole = !memchr(p->word.s, '.', p->word.len);
	struct wfs_node *n =
		wfs_node_new(p, whole ? WFS_NODE_INT : WFS_NODE_FLOAT);

	if (!n)
		return NULL;
	if (p->word.len > 18) {
		wfs_parse_fail(p, NULL, "a number of more than 18 digits");
		return NULL;
	}
	n->number = strtoll(p->word.s, NULL, 10);
	n->real = strtod(p->word.s, NULL);
	return wfs_lex_next(p) ? n : NULL;
}

static const struct wfs_node *parse_level(struct wfs_parser *p, int level);

static const struct wfs_node *parse_value(struct wfs_parser *p)
{
	const struct wfs_node *v;
	struct wfs_node *n;

	if (wfs_word_is(p, "not") || wfs_word_is(p, "-")) {
		bool minus = wfs_word_is(p, "-");

		n = wfs_node_new(p, WFS_NODE_UNARY);
		if (!n || !wfs_lex_next(p))
			return NULL;
		n->slot = minus ? '-' : '!';
		v = parse_level(p, minus ? 7 : 3);
		if (!v)
			return NULL;
		wfs_node_set_args(p, n, &v, 1);
		return n;
	}
	if (wfs_word_is(p, "(")) {
		if (!wfs_lex_next(p))
			return NULL;
		v = wfs_parse_expression(p);
		return v && wfs_parse_take(p, ")") ? v : NULL;
	}
	if (wfs_word_is(p, "["))
		return parse_list(p);
	if (p->word.kind == WFS_WORD_TEXT)
		return wfs_parse_template(p);
	if (p->word.kind == WFS_WORD_NUMBER)
		return parse_number(p);
	if (p->word.kind == WFS_WORD_NAME)
		return parse_name(p);
	if (p->word.kind == WFS_WORD_END)
		wfs_parse_fail(p, NULL, "a value expected, the file ends");
	else
		wfs_parse_fail(p, NULL, "a value expected, not '%.*s'",
			       (int)p->word.len, p->word.s);
	return NULL;
}

static const struct wfs_node *parse_level(struct wfs_parser *p, int level)
{
	const struct wfs_node *args[2];
	struct wfs_node *n;
	size_t i;

	if (++p->depth > WFS_PLAN_DEPTH) {
		wfs_parse_fail(p, NULL, "nested more than %u deep",
			       WFS_PLAN_DEPTH);
		return NULL;
	}
	args[0] = parse_value(p);
	while (args[0]) {
		for (i = 0; i < sizeof(binaries) / sizeof(*binaries); i++)
			if (binaries[i].level >= level &&
			    wfs_word_is(p, binaries[i].sign))
				break;
		if (i == sizeof(binaries) / sizeof(*binaries))
			break;
		n = wfs_node_new(p, WFS_NODE_BINARY);
		if (!n || !wfs_lex_next(p))
			return NULL;
		n->slot = (int)binaries[i].op;
		args[1] = parse_level(p, binaries[i].level + 1);
		if (!args[1])
			return NULL;
		wfs_node_set_args(p, n, args, 2);
		args[0] = n;
	}
	p->depth--;
	return args[0];
}

const struct wfs_node *wfs_parse_expression(struct wfs_parser *p)
{
	return parse_level(p, 1);
}
