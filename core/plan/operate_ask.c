/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that ask or choose.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/operate.h"

#define SAME_BYTES (1u << 20) /* compared at a time */

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
	*ret = wfs_value_bool(e->ghosts ? wfs_ghosts_has(e->ghosts, name) :
					  wfs_source_find(e->base, name) >= 0);
	return 0;
}

/* Its own bytes, or those that it is put together from. */
static int recipe_of(const struct wfs_model *base, int64_t at,
		     struct wfs_recipe **ret_recipe)
{
	struct wfs_piece piece;
	struct wfs_recipe recipe;

	if (base->virtual)
		return base->virtual->tensor(base, 0, (uint32_t)at, ret_recipe,
					     NULL);
	wfs_tensor_recipe(base, &base->ranks[0].tensors[at], &piece, &recipe);
	*ret_recipe = wfs_recipe_dup(&recipe);
	return 0;
}

/* 1 if both have the same bytes, 0 if not, or a negative errno. */
static int same_bytes(const struct wfs_recipe *a, const struct wfs_recipe *b)
{
	char *buf = wfs_malloc((size_t)2 * SAME_BYTES);
	int rc = 1;

	for (uint64_t at = 0; at < a->size && rc > 0; at += SAME_BYTES) {
		ssize_t n = wfs_recipe_read(a, buf, SAME_BYTES, at);
		ssize_t m = n < 0 ? n :
				    wfs_recipe_read(b, buf + SAME_BYTES,
						    SAME_BYTES, at);

		rc = m < 0 ? (int)m :
			     n == m &&
				     !memcmp(buf, buf + SAME_BYTES, (size_t)n);
	}
	free(buf);
	return rc;
}

static int same_tensors(const struct wfs_model *base, const int64_t at[2])
{
	struct wfs_recipe *a = NULL, *b = NULL;
	int rc = recipe_of(base, at[0], &a);

	if (!rc)
		rc = recipe_of(base, at[1], &b);
	if (!rc)
		rc = same_bytes(a, b);
	wfs_recipe_free(a);
	wfs_recipe_free(b);
	return rc;
}

/* same("a", "b"): tensors of one dtype, shape and content */
int wfs_op_same(struct wfs_eval *e, const struct wfs_node *n,
		struct wfs_value *ret)
{
	const struct wfs_tensor *t[2];
	int64_t at[2];
	int rc = 0;

	if (e->ghosts)
		return wfs_eval_fail(e, n,
				     "what tensors hold cannot be told before "
				     "they are put together from the dump of "
				     "model '%s'",
				     e->base->name);
	for (int i = 0; i < 2; i++) {
		const char *name = NULL;

		rc = wfs_evaluate_text(e, n->args[i], &name);
		if (rc)
			return rc;
		at[i] = wfs_source_find(e->base, name);
		if (at[i] < 0)
			return wfs_eval_fail(e, n, "there is no tensor '%s'",
					     name);
		t[i] = &e->base->ranks[0].tensors[at[i]];
	}
	if (t[0]->dtype == t[1]->dtype &&
	    wfs_shape_equals(t[0]->shape, t[0]->ndim, t[1]->shape, t[1]->ndim))
		rc = same_tensors(e->base, at);
	if (rc < 0)
		return wfs_eval_fail(e, n, "cannot read '%s' and '%s': %s",
				     t[0]->name, t[1]->name, strerror(-rc));
	*ret = (struct wfs_value){ .kind = WFS_VALUE_BOOL, .number = rc };
	return 0;
}

/* The length of a tensor's name without its last part. */
static size_t module_len(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct wfs_value *)a)->text,
		      ((const struct wfs_value *)b)->text);
}

/* Modules with a tensor called so, sorted, each once; their number. */
static uint32_t modules(struct wfs_eval *e, const char *pattern,
			struct wfs_value *to)
{
	const struct wfs_rank *base = &e->base->ranks[0];
	uint32_t n = 0, once = 0;

	for (uint32_t i = 0; i < base->count; i++) {
		const char *name = base->tensors[i].name;
		size_t len = module_len(name);

		if (len && wfs_glob(name, pattern))
			to[n++] = wfs_value_text(
				wfs_pool_text(e->pool, name, len));
	}
	qsort(to, n, sizeof(*to), by_text);
	for (uint32_t i = 0; i < n; i++)
		if (!once || by_text(&to[once - 1], &to[i]))
			to[once++] = to[i];
	return once;
}

/* modules("*.a"[, "*.b"]): names less the last part, of tensors called so;
   but none that has another called so */
int wfs_op_modules(struct wfs_eval *e, const struct wfs_node *n,
		   struct wfs_value *ret)
{
	const char *with = NULL, *without = NULL;
	size_t bytes = e->base->ranks[0].count * sizeof(struct wfs_value) + 1;
	struct wfs_value *list, *gone;
	uint32_t count, gone_count = 0, left = 0;
	int rc = wfs_evaluate_text(e, n->args[0], &with);

	if (!rc && n->count > 1)
		rc = wfs_evaluate_text(e, n->args[1], &without);
	if (rc)
		return rc;
	list = wfs_pool_alloc(e->pool, bytes, alignof(struct wfs_value));
	gone = wfs_pool_alloc(e->pool, bytes, alignof(struct wfs_value));
	count = modules(e, with, list);
	if (without)
		gone_count = modules(e, without, gone);
	for (uint32_t i = 0; i < count; i++)
		if (!bsearch(&list[i], gone, gone_count, sizeof(*gone),
			     by_text))
			list[left++] = list[i];
	*ret = (struct wfs_value){ .kind = WFS_VALUE_LIST,
				   .count = left,
				   .items = list };
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
