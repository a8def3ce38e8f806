/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values, from config.json and among themselves.
 */
#include <string.h>

#include "core/plan/evaluate.h"

const char *wfs_value_kind(const struct wfs_value *v)
{
	static const char *const names[] = {
		[WFS_VALUE_NULL] = "null",
		[WFS_VALUE_BOOL] = "a truth",
		[WFS_VALUE_INT] = "a number",
		[WFS_VALUE_FLOAT] = "a fraction",
		[WFS_VALUE_TEXT] = "a text",
		[WFS_VALUE_LIST] = "a list",
		[WFS_VALUE_OBJECT] = "an object",
		[WFS_VALUE_TENSOR] = "a tensor",
		[WFS_VALUE_ABSENT] = "a tensor that is not there",
	};

	return names[v->kind];
}

struct wfs_value wfs_value_from_json(struct wfs_eval *e, yyjson_val *json)
{
	struct wfs_value v = { .kind = WFS_VALUE_NULL };
	struct wfs_value *items;
	yyjson_arr_iter it;

	if (yyjson_is_bool(json))
		return wfs_value_bool(yyjson_get_bool(json));
	if (yyjson_is_sint(json) ||
	    (yyjson_is_uint(json) && yyjson_get_uint(json) <= INT64_MAX))
		return wfs_value_int(yyjson_get_sint(json));
	if (yyjson_is_num(json)) {
		v.kind = WFS_VALUE_FLOAT;
		v.real = yyjson_get_num(json);
	} else if (yyjson_is_str(json)) {
		v = wfs_value_text(yyjson_get_str(json));
	} else if (yyjson_is_obj(json)) {
		v.kind = WFS_VALUE_OBJECT;
		v.object = json;
	} else if (yyjson_is_arr(json)) {
		items = wfs_pool_alloc(
			e->pool, yyjson_arr_size(json) * sizeof(*items), 1);
		v.kind = WFS_VALUE_LIST;
		it = yyjson_arr_iter_with(json);
		while ((json = yyjson_arr_iter_next(&it)))
			/* Lists of lists are asked for nothing. */
			items[v.count++] = yyjson_is_arr(json) ?
						   (struct wfs_value){ 0 } :
						   wfs_value_from_json(e, json);
		v.items = items;
	}
	return v;
}

bool wfs_values_equal(const struct wfs_value *a, const struct wfs_value *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case WFS_VALUE_NULL:
		return true;
	case WFS_VALUE_BOOL:
	case WFS_VALUE_INT:
		return a->number == b->number;
	case WFS_VALUE_FLOAT:
		return !(a->real < b->real) && !(a->real > b->real);
	case WFS_VALUE_TEXT:
		return !strcmp(a->text, b->text);
	case WFS_VALUE_LIST:
		for (uint32_t i = 0; i < a->count && a->count == b->count; i++)
			if (!wfs_values_equal(&a->items[i], &b->items[i]))
				return false;
		return a->count == b->count;
	case WFS_VALUE_OBJECT:
	case WFS_VALUE_TENSOR:
	case WFS_VALUE_ABSENT:
		return false;
	}
	return false;
}
