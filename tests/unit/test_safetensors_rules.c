/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One test for every rule of the safetensors header.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/safetensors.h"

static int parse_bytes(const char *header, size_t len, uint64_t data,
		       struct wfs_pool *pool, struct wfs_safetensors *st,
		       struct wfs_err *err)
{
	char *buf wfs_autofree = wfs_malloc(len + WFS_JSON_PADDING);

	memcpy(buf, header, len);
	return wfs_safetensors_parse(buf, len, 8 + len + data, "w.safetensors",
				     pool, st, err);
}

static void refuses_bytes(const char *header, size_t len, uint64_t data,
			  const char *rule)
{
	struct wfs_safetensors st = { .count = 77 };
	struct wfs_pool pool = { 0 };
	struct wfs_err err = { 0 };

	assert_int_equal(parse_bytes(header, len, data, &pool, &st, &err),
			 -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_int_equal(st.count, 77);
	if (strncmp(err.text, "'w.safetensors': ", 17) ||
	    !strstr(err.text, rule))
		fail_msg("'%s' does not say '%s'", err.text, rule);
	wfs_pool_clear(&pool);
}

static void refuses(const char *header, uint64_t data, const char *rule)
{
	refuses_bytes(header, strlen(header), data, rule);
}

/* One tensor 'a' with these fields. */
#define TENSOR(fields) "{\"a\":{" fields "}}"
#define F(dtype, shape, offsets)                                               \
	"\"dtype\":\"" dtype "\",\"shape\":[" shape                            \
	"],\"data_offsets\":[" offsets "]"

static void refuses_a_header_not_starting_with_a_brace(void **state)
{
	(void)state;
	refuses("", 0, "does not start with '{'");
	refuses(" {}", 0, "does not start with '{'");
	refuses("[]", 0, "does not start with '{'");
	refuses("PK\3\4", 10, "does not start with '{'");
}

static void refuses_invalid_json(void **state)
{
	(void)state;
	refuses("{", 0, "header: not valid JSON at byte");
	refuses("{}x", 0, "header: not valid JSON at byte 2");
	refuses_bytes("{}\0\0", 4, 0, "header: not valid JSON at byte 2");
	refuses("{\"a\":1,}", 0, "not valid JSON");
	refuses("{\"a\":NaN}", 0, "not valid JSON");
	refuses("{/**/}", 0, "not valid JSON");
	refuses("{\"\\ud800\":{}}", 0, "not valid JSON");
	refuses("{\"a\nb\":{}}", 0, "not valid JSON");
}

static void refuses_invalid_utf8(void **state)
{
	static const char *const bad[] = {
		"\xff",
		"\xc3",
		"\xc0\x80",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\xe0\x80\x80",
		"\x80",
		"\xf5\x80\x80\x80",
	};
	char header[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(header, sizeof(header), "{\"abcdefgh%s\":{}}", bad[i]);
		refuses(header, 0, "header: not valid UTF-8 at byte 10");
	}
}

static void refuses_duplicate_tensors(void **state)
{
	(void)state;
	refuses("{\"a\":{" F("U8", "1", "0,1") "},\"b\":{" F(
			"U8", "1", "1,2") "},\"\\u0061\":{" F("U8", "1",
							      "2,3") "}}",
		3, "duplicate key: tensor 'a'");
}

static void refuses_duplicate_fields(void **state)
{
	(void)state;
	refuses(TENSOR(F("U8", "1", "0,1") ",\"dtype\":\"U8\""), 1,
		"tensor 'a': duplicate field 'dtype'");
	refuses(TENSOR("\"shape\":[1]," F("U8", "1", "0,1")), 1,
		"tensor 'a': duplicate field 'shape'");
	refuses(TENSOR(F("U8", "1", "0,1") ",\"x\":1,\"y\":1,\"x\":2"), 1,
		"tensor 'a': duplicate field 'x'");
}

static void refuses_duplicate_metadata_keys(void **state)
{
	(void)state;
	refuses("{\"__metadata__\":{\"k\":\"1\",\"l\":\"\",\"k\":\"1\"}}", 0,
		"__metadata__: duplicate key 'k'");
	refuses("{\"__metadata__\":{},\"__metadata__\":{}}", 0,
		"duplicate key '__metadata__'");
}

static void refuses_metadata_that_is_not_strings(void **state)
{
	(void)state;
	refuses("{\"__metadata__\":{\"k\":1}}", 0,
		"the value of 'k' is not a string");
	refuses("{\"__metadata__\":{\"k\":null}}", 0,
		"the value of 'k' is not a string");
	refuses("{\"__metadata__\":[]}", 0, "not an object of strings");
	refuses("{\"__metadata__\":\"x\"}", 0, "not an object of strings");
}

static void refuses_missing_fields(void **state)
{
	(void)state;
	refuses(TENSOR("\"shape\":[1],\"data_offsets\":[0,1]"), 1,
		"tensor 'a': no field 'dtype'");
	refuses(TENSOR("\"dtype\":\"U8\",\"data_offsets\":[0,1]"), 1,
		"tensor 'a': no field 'shape'");
	refuses(TENSOR("\"dtype\":\"U8\",\"shape\":[1]"), 1,
		"tensor 'a': no field 'data_offsets'");
	refuses("{\"a\":7}", 0, "tensor 'a': not described by an object");
}

static void refuses_an_unknown_dtype(void **state)
{
	(void)state;
	refuses(TENSOR(F("F99", "1", "0,1")), 1,
		"tensor 'a': unknown dtype 'F99'");
	refuses(TENSOR(F("F32\\u0000", "1", "0,4")), 4, "unknown dtype 'F32'");
	refuses(TENSOR("\"dtype\":1,\"shape\":[],\"data_offsets\":[0,1]"), 1,
		"dtype is not a string");
}

static void refuses_a_shape_that_is_not_whole_numbers(void **state)
{
	static const char *const bad[] = { "1.0",   "-1",
					   "-0",    "1e0",
					   "\"1\"", "18446744073709551616",
					   "null" };
	char header[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(header, sizeof(header),
			 "{\"a\":{\"dtype\":\"U8\",\"shape\":[%s],"
			 "\"data_offsets\":[0,1]}}",
			 bad[i]);
		refuses(header, 1, "tensor 'a': shape holds something");
	}
	refuses(TENSOR("\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]"),
		1, "shape is not an array");
}

static void refuses_more_than_64_dimensions(void **state)
{
	struct wfs_text t = { 0 };

	(void)state;
	wfs_text_add(&t, "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],"
			 "\"shape\":[1");
	for (int i = 1; i < 64; i++)
		wfs_text_add(&t, ",1");
	wfs_text_add(&t, ",1]}}");
	refuses(t.data, 1, "tensor 'a': shape of 65 dimensions");
	free(t.data);
}

static void refuses_offsets_that_are_not_two_numbers(void **state)
{
	static const char *const bad[] = {
		"[]", "[0]",	  "[0,1,1]",   "[0,-1]",   "[0,1.0]",
		"0",  "[\"\",1]", "{\"x\":0}", "[null,1]", "null",
	};
	char header[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(header, sizeof(header),
			 "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
			 "\"data_offsets\":%s}}",
			 bad[i]);
		refuses(header, 1,
			"tensor 'a': data_offsets is not a pair of whole");
	}
}

static void refuses_unordered_offsets(void **state)
{
	(void)state;
	refuses(TENSOR(F("U8", "1", "1,0")), 1,
		"tensor 'a': data_offsets are unordered");
}

static void refuses_offsets_out_of_range(void **state)
{
	(void)state;
	refuses(TENSOR(F("U8", "2", "0,2")), 1,
		"tensor 'a': data_offsets out of range");
	refuses(TENSOR(F("U8", "1",
			 "18446744073709551614,"
			 "18446744073709551615")),
		1, "tensor 'a': data_offsets out of range");
}

static void refuses_overlapping_offsets(void **state)
{
	(void)state;
	refuses("{\"a\":{" F("U8", "2", "0,2") "},\"b\":{" F("U8", "2",
							     "1,3") "}}",
		3, "tensor 'b': data_offsets overlap those of 'a'");
	refuses("{\"a\":{" F("U8", "2", "0,2") "},\"b\":{" F("U8", "0",
							     "1,1") "}}",
		2, "tensor 'b': data_offsets overlap those of 'a'");
}

static void refuses_gaps_between_offsets(void **state)
{
	(void)state;
	refuses("{\"a\":{" F("U8", "2", "0,2") "},\"b\":{" F("U8", "1",
							     "3,4") "}}",
		4, "tensor 'b': data_offsets leave a gap of 1 bytes after 'a'");
	refuses(TENSOR(F("U8", "1", "1,2")), 2,
		"tensor 'a': data_offsets leave a gap: the first tensor");
}

static void refuses_trailing_bytes(void **state)
{
	(void)state;
	refuses(TENSOR(F("U8", "1", "0,1")), 3, "2 trailing bytes");
	refuses("{}", 1, "1 trailing bytes");
}

static void refuses_a_wrong_byte_count_for_the_dtype(void **state)
{
	(void)state;
	refuses(TENSOR(F("F32", "2", "0,4")), 4,
		"tensor 'a': shape and dtype F32 make 8 bytes, data_offsets 4");
}

static void refuses_overflowing_shapes(void **state)
{
	(void)state;
	refuses(TENSOR(F("U8", "4294967296,4294967296", "0,0")), 0,
		"tensor 'a': shape times dtype overflows");
	refuses(TENSOR(F("F64", "4611686018427387904", "0,0")), 0,
		"tensor 'a': shape times dtype overflows");
}

static void refuses_elements_that_do_not_fill_whole_bytes(void **state)
{
	(void)state;
	refuses(TENSOR(F("F4", "3", "0,2")), 2,
		"tensor 'a': elements of 4 bits do not fill whole bytes");
}

static void a_broken_name_cannot_forge_a_line(void **state)
{
	(void)state;
	refuses("{\"a\\nb\":1}", 0, "tensor 'a\\x0ab'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(refuses_a_header_not_starting_with_a_brace),
		T(refuses_invalid_json),
		T(refuses_invalid_utf8),
		T(refuses_duplicate_tensors),
		T(refuses_duplicate_fields),
		T(refuses_duplicate_metadata_keys),
		T(refuses_metadata_that_is_not_strings),
		T(refuses_missing_fields),
		T(refuses_an_unknown_dtype),
		T(refuses_a_shape_that_is_not_whole_numbers),
		T(refuses_more_than_64_dimensions),
		T(refuses_offsets_that_are_not_two_numbers),
		T(refuses_unordered_offsets),
		T(refuses_offsets_out_of_range),
		T(refuses_overlapping_offsets),
		T(refuses_gaps_between_offsets),
		T(refuses_trailing_bytes),
		T(refuses_a_wrong_byte_count_for_the_dtype),
		T(refuses_overflowing_shapes),
		T(refuses_elements_that_do_not_fill_whole_bytes),
		T(a_broken_name_cannot_forge_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
