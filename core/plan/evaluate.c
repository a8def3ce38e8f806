/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions to values.  Everything has one type, nothing is converted
 * silently: what does not fit is said with the plan's line.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/evaluate.h"

#define MAX_INDEX      1024 /* values, whatever the checkpoint has */
#define MAX_DEPTH      256u
#define MAX_STEPS      200000u
#define MAX_STEPS_EACH 10000u /* and tensor of the checkpoint */

int wfs_eval_fail(struct wfs_eval *e, const struct wfs_node *n, const char *fmt,
		  ...)
{
	char sentence[WFS_ERR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return wfs_err_set(e->err, -EINVAL, "%s (%s:%u)", sentence, n->file,
			   n->line);
}

int64_t wfs_source_find(const struct wfs_model *base, const char *name)
{
	return wfs_rank_find_tensor(&base->ranks[0], name);
}

static int evaluate_template(struct wfs_eval *e, const struct wfs_node *n,
			     struct wfs_value *ret)
{
	char buf[4096];
	size_t len = 0;

	if (!n->count) {
		*ret = wfs_value_text(n->text);
		return 0;
	}
	for (uint32_t i = 0; i < n->count; i++) {
		struct wfs_value v;
		int rc, k;

		rc = wfs_evaluate(e, n->args[i], &v);
		if (rc)
			return rc;
		if (v.kind == WFS_VALUE_INT)
			k = snprintf(buf + len, sizeof(buf) - len, "%" PRId64,
				     v.number);
		else if (v.kind == WFS_VALUE_TEXT)
			k = snprintf(buf + len, sizeof(buf) - len, "%s",
				     v.text);
		else
			return wfs_eval_fail(e, n, "%s cannot stand in a name",
					     wfs_value_kind(&v));
		len += (size_t)k;
		if (len >= sizeof(buf))
			return wfs_eval_fail(e, n,
					     "a name of more than %zu "
					     "bytes",
					     sizeof(buf) - 1);
	}
	*ret = wfs_value_text(wfs_pool_text(e->pool, buf, len));
	return 0;
}

static int evaluate_list(struct wfs_eval *e, const struct wfs_node *n,
			 struct wfs_value *ret)
{
	struct wfs_value *items =
		wfs_pool_alloc(e->pool, (n->count + 1) * sizeof(*items), 1);

	for (uint32_t i = 0; i < n->count; i++) {
		int rc = wfs_evaluate(e, n->args[i], &items[i]);

		if (rc)
			return rc;
	}
	*ret = (struct wfs_value){ .kind = WFS_VALUE_LIST,
				   .count = n->count,
				   .items = items };
	return 0;
}

static int evaluate_let(struct wfs_eval *e, const struct wfs_node *n,
			struct wfs_value *ret)
{
	const struct wfs_value *frame = e->frame;
	struct wfs_pool *pool = e->pool;
	int rc;

	if (!e->let_done[n->slot]) {
		e->frame = NULL;
		e->pool = e->kept;
		rc = wfs_evaluate(e, e->plan->lets[n->slot].value,
				  &e->lets[n->slot]);
		e->frame = frame;
		e->pool = pool;
		if (rc)
			return rc;
		if (e->lets[n->slot].kind == WFS_VALUE_TENSOR)
			return wfs_eval_fail(e, n,
					     "a let is a number, a text "
					     "or a list: use def");
		e->let_done[n->slot] = true;
	}
	*ret = e->lets[n->slot];
	return 0;
}

static int evaluate_call(struct wfs_eval *e, const struct wfs_node *n,
			 struct wfs_value *ret)
{
	const struct wfs_value *frame = e->frame;
	struct wfs_value args[WFS_PLAN_ARGS];
	int rc = 0;

	for (uint32_t i = 0; i < n->count && rc >= 0; i++) {
		rc = wfs_evaluate(e, n->args[i], &args[i]);
		if (rc == WFS_EVAL_ABSENT)
			args[i].kind = WFS_VALUE_ABSENT;
	}
	if (rc < 0)
		return rc;
	e->frame = args;
	rc = wfs_evaluate(e, e->plan->defs[n->slot].value, ret);
	e->frame = frame;
	return rc;
}

static struct wfs_value builtin_value(const struct wfs_eval *e, int slot)
{
	switch ((enum wfs_builtin)slot) {
	case WFS_BUILTIN_TP:
		return wfs_value_int(e->tp);
	case WFS_BUILTIN_PP:
		return wfs_value_int(e->pp);
	case WFS_BUILTIN_RANK:
		return wfs_value_int(e->rank);
	case WFS_BUILTIN_STAGE:
		return wfs_value_int(e->stage);
	case WFS_BUILTIN_ARCHITECTURE:
		return wfs_value_text(e->architecture);
	case WFS_BUILTIN_QUANTISATION:
		return wfs_value_text(e->quantised ? e->quantised : "");
	case WFS_BUILTIN_COUNT:
		break;
	}
	return (struct wfs_value){ 0 };
}

static int evaluate_config(struct wfs_eval *e, const struct wfs_node *n,
			   struct wfs_value *ret)
{
	yyjson_val *json = wfs_config_find(e->config, n->text);

	if (!json)
		return wfs_eval_fail(e, n,
				     "config.json of model '%s' has no "
				     "'%s', which is needed: put the "
				     "checkpoint's own there",
				     e->base->name, n->text);
	*ret = wfs_value_from_json(e, json);
	return 0;
}

/* Defs that use defs can say very much in few words. */
static int check_effort(struct wfs_eval *e, const struct wfs_node *n)
{
	uint64_t tensors = e->base->ranks[0].count;
	uint64_t most = MAX_STEPS + MAX_STEPS_EACH * tensors;

	if (e->depth > MAX_DEPTH)
		return wfs_eval_fail(e, n, "expressions nest more than %u deep",
				     MAX_DEPTH);
	if (++e->steps > most)
		return wfs_eval_fail(e, n,
				     "the plan takes more than %" PRIu64
				     " steps for this model",
				     most);
	return 0;
}

static int evaluate_node(struct wfs_eval *e, const struct wfs_node *n,
			 struct wfs_value *ret)
{
	switch (n->kind) {
	case WFS_NODE_NULL:
		return 0;
	case WFS_NODE_BOOL:
		*ret = wfs_value_bool(n->number);
		return 0;
	case WFS_NODE_INT:
		*ret = wfs_value_int(n->number);
		return 0;
	case WFS_NODE_FLOAT:
		ret->kind = WFS_VALUE_FLOAT;
		ret->real = n->real;
		return 0;
	case WFS_NODE_TEXT:
		return evaluate_template(e, n, ret);
	case WFS_NODE_LIST:
		return evaluate_list(e, n, ret);
	case WFS_NODE_LET:
		return evaluate_let(e, n, ret);
	case WFS_NODE_INDEX:
		if (!e->bound[n->slot])
			return wfs_eval_fail(e, n,
					     "the index '%s' has no "
					     "value here: it is not in the "
					     "tensor's name",
					     e->plan->indices[n->slot].name);
		*ret = e->index[n->slot];
		return 0;
	case WFS_NODE_PARAM:
		if (!e->frame)
			return wfs_eval_fail(e, n,
					     "a parameter has no value "
					     "outside of its function");
		*ret = e->frame[n->slot];
		return ret->kind == WFS_VALUE_ABSENT ? WFS_EVAL_ABSENT : 0;
	case WFS_NODE_BUILTIN:
		*ret = builtin_value(e, n->slot);
		return 0;
	case WFS_NODE_CONFIG:
		return evaluate_config(e, n, ret);
	case WFS_NODE_CALL:
		return evaluate_call(e, n, ret);
	case WFS_NODE_APPLY:
		return wfs_operate(e, n, ret);
	case WFS_NODE_UNARY:
		return wfs_evaluate_unary(e, n, ret);
	case WFS_NODE_BINARY:
		return wfs_evaluate_binary(e, n, ret);
	}
	return -EINVAL;
}

int wfs_evaluate(struct wfs_eval *e, const struct wfs_node *n,
		 struct wfs_value *ret)
{
	int rc = check_effort(e, n);

	*ret = (struct wfs_value){ 0 };
	if (rc)
		return rc;
	e->depth++;
	rc = evaluate_node(e, n, ret);
	e->depth--;
	return rc;
}

int wfs_evaluate_condition(struct wfs_eval *e, const struct wfs_node *n)
{
	struct wfs_value v;
	int rc;

	if (!n)
		return 1;
	rc = wfs_evaluate(e, n, &v);
	if (rc)
		return rc < 0 ? rc : -EINVAL;
	if (v.kind != WFS_VALUE_BOOL)
		return wfs_eval_fail(e, n, "true or false expected, not %s",
				     wfs_value_kind(&v));
	return v.number != 0;
}

int wfs_evaluate_int(struct wfs_eval *e, const struct wfs_node *n, int64_t *ret)
{
	struct wfs_value v;
	int rc = wfs_evaluate(e, n, &v);

	if (rc)
		return rc;
	if (v.kind != WFS_VALUE_INT || v.number < 0)
		return wfs_eval_fail(e, n,
				     "a number from 0 on expected, not "
				     "%s",
				     v.kind == WFS_VALUE_INT ?
					     "a negative one" :
					     wfs_value_kind(&v));
	*ret = v.number;
	return 0;
}

int wfs_evaluate_text(struct wfs_eval *e, const struct wfs_node *n,
		      const char **ret)
{
	struct wfs_value v;
	int rc = wfs_evaluate(e, n, &v);

	if (rc)
		return rc;
	if (v.kind != WFS_VALUE_TEXT)
		return wfs_eval_fail(e, n, "a text expected, not %s",
				     wfs_value_kind(&v));
	*ret = v.text;
	return 0;
}

int wfs_evaluate_dtype(struct wfs_eval *e, const struct wfs_node *n,
		       enum wfs_dtype *ret)
{
	static const struct {
		const char *name;
		enum wfs_dtype dtype;
	} others[] = {
		{ "bfloat16", WFS_BF16 },
		{ "float16", WFS_F16 },
		{ "float32", WFS_F32 },
	};
	const char *name = "";
	int rc = wfs_evaluate_text(e, n, &name);

	if (rc)
		return rc;
	rc = wfs_dtype_parse(name, strlen(name));
	for (size_t i = 0; rc < 0 && i < sizeof(others) / sizeof(*others); i++)
		if (!strcmp(name, others[i].name))
			rc = (int)others[i].dtype;
	if (rc < 0)
		return wfs_eval_fail(e, n, "'%.60s' is no dtype", name);
	*ret = (enum wfs_dtype)rc;
	return 0;
}

int wfs_eval_index_count(struct wfs_eval *e, uint32_t index, uint64_t *ret)
{
	const struct wfs_node *n = e->plan->indices[index].count;
	struct wfs_value v;
	int rc = wfs_evaluate(e, n, &v);

	if (rc)
		return rc;
	if (v.kind == WFS_VALUE_LIST)
		*ret = v.count;
	else if (v.kind == WFS_VALUE_INT && v.number > MAX_INDEX &&
		 v.number > e->base->ranks[0].count)
		return wfs_eval_fail(e, n,
				     "the index '%s' has %" PRId64
				     " values, more than the checkpoint has "
				     "tensors: put the right config.json there",
				     e->plan->indices[index].name, v.number);
	else if (v.kind == WFS_VALUE_INT && v.number >= 0)
		*ret = (uint64_t)v.number;
	else
		return wfs_eval_fail(e, n,
				     "the index '%s' wants a count or a "
				     "list of texts",
				     e->plan->indices[index].name);
	return 0;
}

int wfs_eval_bind(struct wfs_eval *e, uint32_t index, uint64_t at)
{
	const struct wfs_node *n = e->plan->indices[index].count;
	struct wfs_value v = wfs_value_int((int64_t)at);
	int rc = 0;

	/* Bound by a stack: always a number. */
	if (n && n->kind != WFS_NODE_INT) {
		rc = wfs_evaluate(e, n, &v);
		if (rc)
			return rc;
		v = v.kind == WFS_VALUE_LIST ? v.items[at] :
					       wfs_value_int((int64_t)at);
	}
	e->index[index] = v;
	e->bound[index] = true;
	return 0;
}
