/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a checkpoint of several files.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/index.h"

static int parse(const char *text, char **ret_copy, struct wfs_index *index,
		 struct wfs_err *err)
{
	size_t len = strlen(text);

	*ret_copy = wfs_malloc(len + WFS_JSON_PADDING);
	memcpy(*ret_copy, text, len);
	return wfs_index_parse(*ret_copy, len, "i.json", index, err);
}

static void refuses(const char *text, const char *rule)
{
	struct wfs_index index = { .count = 77 };
	struct wfs_err err = { 0 };
	char *copy wfs_autofree = NULL;

	assert_int_equal(parse(text, &copy, &index, &err), -EBADMSG);
	assert_int_equal(index.count, 77);
	if (strncmp(err.text, "'i.json': ", 10) || !strstr(err.text, rule))
		fail_msg("'%s' does not say '%s'", err.text, rule);
}

static void reads_the_file_of_every_tensor(void **state)
{
	static const char text[] =
		"{\"metadata\":{\"total_size\":12},\"more\":[1],\"weight_map\":"
		"{\"b\":\"2\",\"c\":\"2\",\"a\":\"1\",\"d\":\"2\",\"e\":\"0\"}}"
		"\n";
	static const char *const want[] = { "1", "2", "2", "2", "0" };
	struct wfs_index index = { 0 };
	char *copy wfs_autofree = NULL;

	(void)state;
	assert_int_equal(parse(text, &copy, &index, NULL), 0);
	assert_int_equal(index.count, 5);
	assert_int_equal(index.file_count, 3);
	assert_string_equal(index.files[0], "0");
	assert_string_equal(index.files[2], "2");
	for (uint32_t i = 0; i < index.count; i++) {
		const struct wfs_key *key = &index.tensors[i];

		assert_int_equal(key->len, 1);
		assert_int_equal(key->s[0], 'a' + (char)i);
		assert_string_equal(index.files[index.file[key->tag]], want[i]);
	}
	wfs_index_clear(&index);
}

static void refuses_invalid_json(void **state)
{
	(void)state;
	refuses("", "not valid JSON");
	refuses("{\"weight_map\":{\"a\":\"b\"}", "not valid JSON at byte");
	refuses("{\"weight_map\":{\"a\":\"b\"},}", "not valid JSON at byte");
}

static void refuses_invalid_utf8(void **state)
{
	(void)state;
	refuses("{\"weight_map\":{\"\xff\":\"b\"}}",
		"not valid UTF-8 at byte 16");
}

static void refuses_what_is_no_object(void **state)
{
	(void)state;
	refuses("[]", "not a JSON object");
	refuses("3", "not a JSON object");
}

static void refuses_an_index_without_a_map(void **state)
{
	(void)state;
	refuses("{}", "no key 'weight_map'");
	refuses("{\"weight_map\":[]}", "weight_map is not an object");
	refuses("{\"weight_map\":{}}", "weight_map names no tensor");
}

static void refuses_duplicate_tensors(void **state)
{
	(void)state;
	refuses("{\"weight_map\":{\"a\":\"1\",\"b\":\"1\",\"a\":\"1\"}}",
		"duplicate key: tensor 'a' is named twice");
}

static void refuses_duplicate_maps(void **state)
{
	(void)state;
	refuses("{\"weight_map\":{\"a\":\"1\"},\"weight_map\":{\"b\":\"1\"}}",
		"duplicate key 'weight_map'");
}

static void refuses_files_that_are_not_strings(void **state)
{
	(void)state;
	refuses("{\"weight_map\":{\"a\":1}}",
		"the file of tensor 'a' is not a string");
	refuses("{\"weight_map\":{\"a\":\"x\\u0000y\"}}",
		"the file of tensor 'a' is no file name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_the_file_of_every_tensor),
		T(refuses_invalid_json),
		T(refuses_invalid_utf8),
		T(refuses_what_is_no_object),
		T(refuses_an_index_without_a_map),
		T(refuses_duplicate_tensors),
		T(refuses_duplicate_maps),
		T(refuses_files_that_are_not_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
