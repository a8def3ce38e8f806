/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators of expressions.
 */
#include <errno.h>
#include <inttypes.h>

#include "core/plan/evaluate.h"

static int arithmetic(struct wfs_eval *e, const struct wfs_node *n, int64_t a,
		      int64_t b, struct wfs_value *ret)
{
	int64_t out = 0;
	bool bad = false;

	switch (n->slot) {
	case WFS_BINARY_ADD:
		bad = __builtin_add_overflow(a, b, &out);
		break;
	case WFS_BINARY_SUB:
		bad = __builtin_sub_overflow(a, b, &out);
		break;
	case WFS_BINARY_MUL:
		bad = __builtin_mul_overflow(a, b, &out);
		break;
	default:
		if (b <= 0 || a < 0)
			return wfs_eval_fail(
				e, n, "%" PRId64 " divided by %" PRId64, a, b);
		if (n->slot == WFS_BINARY_DIV && a % b)
			return wfs_eval_fail(e, n,
					     "%" PRId64 " / %" PRId64
					     " is not a whole number",
					     a, b);
		out = n->slot == WFS_BINARY_MOD ? a % b : a / b;
	}
	if (bad)
		return wfs_eval_fail(e, n, "a number over 2^63");
	*ret = wfs_value_int(out);
	return 0;
}

static int compare_or_count(struct wfs_eval *e, const struct wfs_node *n,
			    const struct wfs_value *a,
			    const struct wfs_value *b, struct wfs_value *ret)
{
	if (a->kind != WFS_VALUE_INT || b->kind != WFS_VALUE_INT)
		return wfs_eval_fail(e, n,
				     "two numbers expected, not %s and "
				     "%s",
				     wfs_value_kind(a), wfs_value_kind(b));
	switch (n->slot) {
	case WFS_BINARY_LT:
		*ret = wfs_value_bool(a->number < b->number);
		return 0;
	case WFS_BINARY_LE:
		*ret = wfs_value_bool(a->number <= b->number);
		return 0;
	case WFS_BINARY_GT:
		*ret = wfs_value_bool(a->number > b->number);
		return 0;
	case WFS_BINARY_GE:
		*ret = wfs_value_bool(a->number >= b->number);
		return 0;
	default:
		return arithmetic(e, n, a->number, b->number, ret);
	}
}

/* and, or, ??: the right side only where it decides. */
static int evaluate_lazy(struct wfs_eval *e, const struct wfs_node *n,
			 struct wfs_value *ret)
{
	int is;

	if (n->slot == WFS_BINARY_ELSE) {
		int rc;

		if (n->args[0]->kind == WFS_NODE_CONFIG &&
		    !wfs_config_find(e->config, n->args[0]->text))
			return wfs_evaluate(e, n->args[1], ret);
		rc = wfs_evaluate(e, n->args[0], ret);
		if (!rc && ret->kind == WFS_VALUE_NULL)
			rc = wfs_evaluate(e, n->args[1], ret);
		return rc;
	}
	is = wfs_evaluate_condition(e, n->args[0]);
	if (is >= 0 && is == (n->slot == WFS_BINARY_AND))
		is = wfs_evaluate_condition(e, n->args[1]);
	if (is < 0)
		return is;
	*ret = wfs_value_bool(is);
	return 0;
}

int wfs_evaluate_binary(struct wfs_eval *e, const struct wfs_node *n,
			struct wfs_value *ret)
{
	struct wfs_value a, b;
	int rc;

	if (n->slot <= WFS_BINARY_ELSE)
		return evaluate_lazy(e, n, ret);
	rc = wfs_evaluate(e, n->args[0], &a);
	if (!rc)
		rc = wfs_evaluate(e, n->args[1], &b);
	if (rc)
		return rc;
	if (n->slot == WFS_BINARY_EQ || n->slot == WFS_BINARY_NE) {
		*ret = wfs_value_bool(wfs_values_equal(&a, &b) ==
				      (n->slot == WFS_BINARY_EQ));
		return 0;
	}
	if (n->slot != WFS_BINARY_IN)
		return compare_or_count(e, n, &a, &b, ret);
	if (b.kind != WFS_VALUE_LIST)
		return wfs_eval_fail(e, n, "a list expected, not %s",
				     wfs_value_kind(&b));
	*ret = wfs_value_bool(false);
	for (uint32_t i = 0; i < b.count; i++)
		if (wfs_values_equal(&a, &b.items[i]))
			*ret = wfs_value_bool(true);
	return 0;
}

int wfs_evaluate_unary(struct wfs_eval *e, const struct wfs_node *n,
		       struct wfs_value *ret)
{
	int rc;

	if (n->slot == '!') {
		rc = wfs_evaluate_condition(e, n->args[0]);
		if (rc < 0)
			return rc;
		*ret = wfs_value_bool(!rc);
		return 0;
	}
	rc = wfs_evaluate(e, n->args[0], ret);
	if (rc)
		return rc;
	if (ret->kind == WFS_VALUE_INT)
		ret->number = -ret->number;
	else if (ret->kind == WFS_VALUE_FLOAT)
		ret->real = -ret->real;
	else
		return wfs_eval_fail(e, n, "a number expected, not %s",
				     wfs_value_kind(ret));
	return 0;
}
