/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config.json of a layout, where it is not the checkpoint's own.
 *
 * An engine that reads a layout finds other names in its files than in the
 * checkpoint's.  What it would have learnt from those, a plan can tell it in
 * config.json ("mend").  The new text lies in memory beside the headers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/plan/inner.h"

#define CONFIG "config.json"

static yyjson_mut_val *list_of(yyjson_mut_doc *doc, const struct wfs_value *v)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);

	for (uint32_t i = 0; i < v->count && list; i++)
		if (v->items[i].kind != WFS_VALUE_TEXT ||
		    !yyjson_mut_arr_add_strcpy(doc, list, v->items[i].text))
			return NULL;
	return list;
}

static bool says_nothing(yyjson_mut_val *v)
{
	return !v || yyjson_mut_is_null(v) ||
	       (yyjson_mut_is_arr(v) && !yyjson_mut_arr_size(v));
}

/* Objects that are missing on the way are made; what says something stays. */
static bool set(yyjson_mut_doc *doc, const char *path, yyjson_mut_val *list)
{
	yyjson_mut_val *at = yyjson_mut_doc_get_root(doc), *next, *key;
	const char *dot;

	for (; (dot = strchr(path, '.')); path = dot + 1) {
		size_t len = (size_t)(dot - path);

		next = yyjson_mut_obj_getn(at, path, len);
		if (!next) {
			next = yyjson_mut_obj(doc);
			key = yyjson_mut_strncpy(doc, path, len);
			if (!yyjson_mut_obj_add(at, key, next))
				return false;
		}
		at = next;
	}
	next = yyjson_mut_obj_get(at, path);
	if (!says_nothing(next))
		return true;
	key = yyjson_mut_strcpy(doc, path);
	return key && yyjson_mut_obj_put(at, key, list);
}

static int mend(struct wfs_eval *e, yyjson_mut_doc *doc,
		const struct wfs_mend *m, bool *ret_mended)
{
	const char *path = NULL;
	yyjson_mut_val *list;
	struct wfs_value v;
	int rc = wfs_evaluate_condition(e, m->when);

	if (rc <= 0)
		return rc;
	rc = wfs_evaluate_text(e, m->path, &path);
	if (!rc)
		rc = wfs_evaluate(e, m->value, &v);
	if (rc)
		return rc;
	list = v.kind == WFS_VALUE_LIST ? list_of(doc, &v) : NULL;
	if (!list || !set(doc, path, list))
		return wfs_eval_fail(e, m->value,
				     "a list of texts, to say as '%s' in "
				     "config.json, expected",
				     path);
	*ret_mended = true;
	return 0;
}

/* The text takes the place of the base's. */
static int put(struct wfs_layout *layout, struct wfs_model *model,
	       yyjson_mut_doc *doc, struct wfs_err *err)
{
	int64_t at = wfs_model_find_entry(model, 0, CONFIG);
	struct wfs_model_entry *entry = &model->entries[at < 0 ? 0 : at];
	uint32_t index;
	size_t len;
	char *text =
		yyjson_mut_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, &len);

	if (at < 0 || !text) {
		free(text);
		return wfs_err_set(err, -ENOMEM,
				   "model '%s': no memory for " CONFIG,
				   model->name);
	}
	index = wfs_headers_add_text(layout->headers, CONFIG, text, len);
	free(text);
	model->file_bytes -= entry->region->size;
	model->file_bytes += len;
	entry->region = wfs_headers_region(layout->headers, index);
	entry->st.st_size = (off_t)len;
	entry->st.st_blocks = (blkcnt_t)((len + 511) / 512);
	return 0;
}

int wfs_layout_mend(struct wfs_layout *layout, struct wfs_model *model,
		    struct wfs_err *err)
{
	const struct wfs_plan *plan = layout->plan;
	struct wfs_pool scratch = { 0 };
	yyjson_mut_doc *doc;
	struct wfs_eval e;
	bool mended = false;
	int rc = 0;

	if (layout->spec.hf || !plan->mend_count)
		return 0;
	doc = yyjson_doc_mut_copy(layout->config.doc, NULL);
	if (!doc)
		return wfs_err_set(err, -ENOMEM,
				   "model '%s': no memory for " CONFIG,
				   model->name);
	wfs_layout_eval(layout, &scratch, err, &e);
	e.kept = &layout->pool;
	for (uint32_t i = 0; i < plan->mend_count && !rc; i++)
		rc = mend(&e, doc, &plan->mends[i], &mended);
	if (!rc && mended)
		rc = put(layout, model, doc, err);
	wfs_pool_clear(&scratch);
	yyjson_mut_doc_free(doc);
	return rc;
}
