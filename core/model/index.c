/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows come in the order of the file; sorting their names finds those that
 * appear twice and lets the model compare them with its tensors in one pass.
 */
#include <errno.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/index.h"

#define SHOWN "%.120s"

#define broken(err, what, fmt, ...)                                            \
	wfs_err_set(err, -EBADMSG, "'%s': " fmt, what, ##__VA_ARGS__)

static int find_map(yyjson_val *root, const char *what, yyjson_val **ret_map,
		    struct wfs_err *err)
{
	yyjson_val *map = NULL, *key;
	yyjson_obj_iter it;

	if (!yyjson_is_obj(root))
		return broken(err, what, "not a JSON object");
	key = wfs_json_repeated_key(root);
	if (key)
		return broken(err, what, "duplicate key '" SHOWN "'",
			      yyjson_get_str(key));
	it = yyjson_obj_iter_with(root);
	while ((key = yyjson_obj_iter_next(&it)))
		if (wfs_json_key_is(key, "weight_map"))
			map = yyjson_obj_iter_get_val(key);
	if (!map)
		return broken(err, what, "no key 'weight_map'");
	if (!yyjson_is_obj(map))
		return broken(err, what, "weight_map is not an object");
	if (!yyjson_obj_size(map))
		return broken(err, what, "weight_map names no tensor");
	*ret_map = map;
	return 0;
}

/*
 * Files by run of rows: a file's tensors mostly follow each other, so there
 * are few runs, and only these are sorted.  keys[run].tag is the run.
 */
static uint32_t collect_runs(yyjson_val *map, struct wfs_index *index,
			     struct wfs_key *runs)
{
	yyjson_obj_iter it = yyjson_obj_iter_with(map);
	uint32_t row = 0, count = 0;
	yyjson_val *key;

	while ((key = yyjson_obj_iter_next(&it))) {
		yyjson_val *val = yyjson_obj_iter_get_val(key);
		struct wfs_key file = { yyjson_get_str(val),
					(uint32_t)yyjson_get_len(val), count };

		index->tensors[row] =
			(struct wfs_key){ yyjson_get_str(key),
					  (uint32_t)yyjson_get_len(key), row };
		if (!count || wfs_key_compare(&runs[count - 1], &file))
			runs[count++] = file;
		index->file[row++] = count - 1;
	}
	index->count = row;
	return count;
}

static void number_files(struct wfs_index *index, struct wfs_key *runs,
			 uint32_t count)
{
	uint32_t *number wfs_autofree = wfs_calloc(count, sizeof(*number));

	wfs_keys_sort(runs, count);
	index->files = wfs_calloc(count, sizeof(*index->files));
	for (uint32_t i = 0; i < count; i++) {
		if (!i || wfs_key_compare(&runs[i - 1], &runs[i]))
			index->files[index->file_count++] = runs[i].s;
		number[runs[i].tag] = index->file_count - 1;
	}
	for (uint32_t row = 0; row < index->count; row++)
		index->file[row] = number[index->file[row]];
}

static int check_values(yyjson_val *map, const char *what, struct wfs_err *err)
{
	yyjson_obj_iter it = yyjson_obj_iter_with(map);
	yyjson_val *key;

	while ((key = yyjson_obj_iter_next(&it))) {
		yyjson_val *val = yyjson_obj_iter_get_val(key);

		if (!yyjson_is_str(val))
			return broken(err, what,
				      "weight_map: the file of tensor '" SHOWN
				      "' is not a string",
				      yyjson_get_str(key));
		if (strlen(yyjson_get_str(val)) != yyjson_get_len(val))
			return broken(err, what,
				      "weight_map: the file of tensor '" SHOWN
				      "' is no file name: it holds a NUL",
				      yyjson_get_str(key));
	}
	return 0;
}

static int fill(yyjson_val *map, const char *what, struct wfs_index *index,
		struct wfs_err *err)
{
	size_t count = yyjson_obj_size(map), repeated;
	struct wfs_key *runs wfs_autofree = wfs_calloc(count, sizeof(*runs));
	int rc = check_values(map, what, err);

	if (rc)
		return rc;
	index->tensors = wfs_calloc(count, sizeof(*index->tensors));
	index->file = wfs_calloc(count, sizeof(*index->file));
	number_files(index, runs, collect_runs(map, index, runs));
	wfs_keys_sort(index->tensors, index->count);
	repeated = wfs_keys_repeated(index->tensors, index->count);
	if (repeated)
		return broken(err, what,
			      "weight_map: duplicate key: tensor '" SHOWN
			      "' is named twice",
			      index->tensors[repeated].s);
	return 0;
}

int wfs_index_parse(char *text, size_t len, const char *what,
		    struct wfs_index *ret, struct wfs_err *err)
{
	char *subject wfs_autofree = wfs_asprintf("'%s'", what);
	struct wfs_index index = { 0 };
	yyjson_val *map = NULL;
	yyjson_doc *doc;
	int rc = wfs_json_parse(text, len, subject, &doc, err);

	if (rc)
		return rc;
	rc = find_map(yyjson_doc_get_root(doc), what, &map, err);
	if (!rc)
		rc = fill(map, what, &index, err);
	yyjson_doc_free(doc);
	if (rc)
		wfs_index_clear(&index);
	else
		*ret = index;
	return rc;
}

void wfs_index_clear(struct wfs_index *index)
{
	free(index->tensors);
	free(index->file);
	free(index->files);
	memset(index, 0, sizeof(*index));
}
