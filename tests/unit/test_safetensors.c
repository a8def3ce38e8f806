/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The safetensors header: what is read from a good one, and the rules of the
 * file around it. The rules of the header itself are in
 * test_safetensors_rules.c.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"
#include "core/model/dtype.h"
#include "core/model/safetensors.h"
#include "tests/unit/ckpt.h"

static int parse_bytes(const char *header, size_t len, uint64_t data,
		       struct wfs_pool *pool, struct wfs_safetensors *st,
		       struct wfs_err *err)
{
	char *buf wfs_autofree = wfs_malloc(len + WFS_JSON_PADDING);

	memcpy(buf, header, len);
	return wfs_safetensors_parse(buf, len, 8 + len + data, "w.safetensors",
				     pool, st, err);
}

static void accepts(const char *header, uint64_t data, uint32_t count)
{
	struct wfs_safetensors st = { 0 };
	struct wfs_pool pool = { 0 };
	struct wfs_err err = { 0 };

	if (parse_bytes(header, strlen(header), data, &pool, &st, &err))
		fail_msg("%s", err.text);
	assert_int_equal(st.count, count);
	wfs_safetensors_clear(&st);
	wfs_pool_clear(&pool);
}

/* One tensor 'a' with these fields. */
#define TENSOR(fields) "{\"a\":{" fields "}}"
#define F(dtype, shape, offsets)                                               \
	"\"dtype\":\"" dtype "\",\"shape\":[" shape                            \
	"],\"data_offsets\":[" offsets "]"

static void reads_names_shapes_and_places(void **state)
{
	static const char header[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"w.b\":{" F("BF16", "2,3",
			      "4,16") "},"
				      "\"w.a\":{" F(
					      "F32", "",
					      "0,4") "},"
						     "\"none\":{" F(
							     "I64", "0,5",
							     "4,4") "}}  \n";
	struct wfs_safetensors st = { 0 };
	struct wfs_pool pool = { 0 };
	uint64_t data = 8 + strlen(header);

	(void)state;
	assert_int_equal(
		parse_bytes(header, strlen(header), 16, &pool, &st, NULL), 0);
	assert_int_equal(st.count, 3);
	assert_int_equal(st.data, data);
	assert_string_equal(st.tensors[0].name, "none");
	assert_int_equal(st.tensors[0].size, 0);
	assert_string_equal(st.tensors[1].name, "w.a");
	assert_int_equal(st.tensors[1].ndim, 0);
	assert_null(st.tensors[1].shape);
	assert_int_equal(st.tensors[1].off, data);
	assert_int_equal(st.tensors[1].size, 4);
	assert_string_equal(st.tensors[2].name, "w.b");
	assert_int_equal(st.tensors[2].dtype, WFS_BF16);
	assert_int_equal(st.tensors[2].ndim, 2);
	assert_int_equal(st.tensors[2].shape[0], 2);
	assert_int_equal(st.tensors[2].shape[1], 3);
	assert_int_equal(st.tensors[2].off, data + 4);
	assert_int_equal(st.file_order[0], 1);
	assert_int_equal(st.file_order[1], 0);
	assert_int_equal(st.file_order[2], 2);
	wfs_safetensors_clear(&st);
	wfs_pool_clear(&pool);
}

static void accepts_what_the_reference_accepts(void **state)
{
	(void)state;
	accepts("{}", 0, 0);
	accepts("{} \t\r\n", 0, 0);
	accepts("{\"__metadata__\":null}", 0, 0);
	accepts("{\"__metadata__\":{}}", 0, 0);
	accepts(TENSOR(F("F32", "1", "0,4") ",\"more\":[{}]"), 4, 1);
	accepts("{\"\":{" F("U8", "4", "0,4") "}}", 4, 1);
	accepts("{\"a\":{\"dty\\u0070e\":\"U8\",\"shape\":[1],"
		"\"data_offsets\":[0,1]}}",
		1, 1);
	accepts(TENSOR(F("U8", "0,9223372036854775808,4", "0,0")), 0, 1);
	accepts(TENSOR(F("F4", "3,2", "0,3")), 3, 1);
}

static void accepts_64_dimensions(void **state)
{
	struct wfs_text t = { 0 };

	(void)state;
	wfs_text_add(&t, "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],"
			 "\"shape\":[1");
	for (int i = 1; i < 64; i++)
		wfs_text_add(&t, ",1");
	wfs_text_add(&t, "]}}");
	accepts(t.data, 1, 1);
	free(t.data);
}

static void keeps_a_nul_in_a_name(void **state)
{
	static const char header[] = "{\"x\\u0000y\":{" F(
		"U8", "1", "0,1") "},\"x\":{" F("U8", "1", "1,2") "}}";
	struct wfs_safetensors st = { 0 };
	struct wfs_pool pool = { 0 };

	(void)state;
	assert_int_equal(
		parse_bytes(header, strlen(header), 2, &pool, &st, NULL), 0);
	assert_int_equal(st.count, 2);
	assert_int_equal(st.tensors[0].name_len, 1);
	assert_int_equal(st.tensors[1].name_len, 3);
	assert_memory_equal(st.tensors[1].name, "x\0y", 4);
	wfs_safetensors_clear(&st);
	wfs_pool_clear(&pool);
}

static void refuses_file(const void *bytes, size_t len, const char *rule)
{
	struct ckpt *m = ckpt_new("/ckpt");
	struct wfs_safetensors st = { 0 };
	struct wfs_pool pool = { 0 };
	struct wfs_err err = { 0 };
	struct wfs_source *src;
	size_t count;

	ckpt_add(m, "w.safetensors", bytes, len);
	src = ckpt_source(m);
	assert_int_equal(
		wfs_safetensors_read(wfs_source_list(src, &count)[0].region,
				     &pool, &st, &err),
		-EBADMSG);
	if (strncmp(err.text, "'/ckpt/w.safetensors': ", 23) ||
	    !strstr(err.text, rule))
		fail_msg("'%s' does not say '%s'", err.text, rule);
	wfs_source_put(src);
	wfs_pool_clear(&pool);
}

static void refuses_a_truncated_file(void **state)
{
	(void)state;
	refuses_file("", 0, "truncated: 0 bytes");
	refuses_file("\2\0\0\0\0\0\0", 7, "truncated: 7 bytes");
	refuses_file("\3\0\0\0\0\0\0\0{}", 10, "truncated: header of 3 bytes");
}

static void refuses_a_header_of_more_than_100_mb(void **state)
{
	struct wfs_err err = { 0 };
	uint64_t len = 0;

	(void)state;
	refuses_file("\1\xe1\xf5\5\0\0\0\0{}", 10, "header of 100000001 bytes");
	refuses_file("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
		     "header of 18446744073709551615 bytes");
	assert_int_equal(wfs_safetensors_header_len("\0\xe1\xf5\5\0\0\0\0",
						    200000000, "w", &len, &err),
			 0);
	assert_int_equal(len, WFS_HEADER_MAX);
}

static void reads_a_header_of_many_reads(void **state)
{
	struct ckpt *m = ckpt_new("/ckpt");
	struct wfs_safetensors st = { 0 };
	struct wfs_pool pool = { 0 };
	struct wfs_text t = { 0 };
	struct wfs_source *src;
	size_t count;

	(void)state;
	wfs_text_add(&t, "{");
	for (int i = 0; i < 20000; i++)
		wfs_text_add(&t, "%s\"t%05d\":{" F("U8", "1", "%d,%d") "}",
			     i ? "," : "", i, 19999 - i, 20000 - i);
	wfs_text_add(&t, "}");
	ckpt_add_safetensors(m, "w.safetensors", t.data, 20000);
	src = ckpt_source(m);
	assert_int_equal(
		wfs_safetensors_read(wfs_source_list(src, &count)[0].region,
				     &pool, &st, NULL),
		0);
	assert_int_equal(st.count, 20000);
	assert_string_equal(st.tensors[19999].name, "t19999");
	assert_int_equal(st.tensors[19999].off, st.data);
	assert_int_equal(st.file_order[0], 19999);
	assert_int_equal(st.file_order[19999], 0);
	wfs_safetensors_clear(&st);
	wfs_pool_clear(&pool);
	wfs_source_put(src);
	free(t.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_names_shapes_and_places),
		T(accepts_what_the_reference_accepts),
		T(accepts_64_dimensions),
		T(keeps_a_nul_in_a_name),
		T(refuses_a_truncated_file),
		T(refuses_a_header_of_more_than_100_mb),
		T(reads_a_header_of_many_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
