/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that ask or choose.
 */
#include <errno.h>
#include <inttypes.h>

#include "core/plan/operate.h"

int wfs_op_if(struct wfs_eval *e, const struct wfs_node *n,
	      struct wfs_value *ret)
{
	int is = wfs_evaluate_condition(e, n->args[0]);

	return is < 0 ? is : wfs_evaluate(e, n->args[is ? 1 : 2], ret);
}

/* dim(x, d): how long it is */
int wfs_op_dim(struct wfs_eval *e, const struct wfs_node *n,
	       struct wfs_value *ret)
{
	struct wfs_value v;
	unsigned dim;
	int rc = wfs_evaluate_tensor(e, n->args[0], &v);

	if (!rc)
		rc = wfs_op_take_dim(e, n, &v, n->args[1], &dim);
	if (rc)
		return rc;
	*ret = (struct wfs_value){ .kind = WFS_VALUE_INT,
				   .number = (int64_t)v.view->shape[dim] };
	return 0;
}

int wfs_op_exists(struct wfs_eval *e, const struct wfs_node *n,
		  struct wfs_value *ret)
{
	const char *name = NULL;
	int rc = wfs_evaluate_text(e, n->args[0], &name);

	if (rc)
		return rc;
	*ret = (struct wfs_value){ .kind = WFS_VALUE_BOOL };
	ret->number = wfs_source_find(e->base, name) >= 0;
	return 0;
}

/* matches(text, "a*b") */
int wfs_op_matches(struct wfs_eval *e, const struct wfs_node *n,
		   struct wfs_value *ret)
{
	const char *s = NULL, *pattern = NULL;
	int rc = wfs_evaluate_text(e, n->args[0], &s);

	if (!rc)
		rc = wfs_evaluate_text(e, n->args[1], &pattern);
	if (rc)
		return rc;
	*ret = (struct wfs_value){ .kind = WFS_VALUE_BOOL,
				   .number = wfs_glob(s, pattern) };
	return 0;
}

/* item(list, n): counted from 0 */
int wfs_op_item(struct wfs_eval *e, const struct wfs_node *n,
		struct wfs_value *ret)
{
	struct wfs_value v;
	int64_t at;
	int rc = wfs_evaluate(e, n->args[0], &v);

	if (!rc)
		rc = wfs_evaluate_int(e, n->args[1], &at);
	if (rc)
		return rc;
	if (v.kind != WFS_VALUE_LIST || at >= v.count)
		return wfs_eval_fail(e, n, "there is no item %" PRId64, at);
	*ret = v.items[at];
	return 0;
}
