/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is added to the JSON library: UTF-8, repeated keys, whole keys.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/text.h"

static void utf8_is_checked_to_the_byte(void **state)
{
	static const struct {
		const char *text;
		size_t good;
	} rows[] = {
		{ "", 0 },
		{ "plain text of more than eight bytes", 35 },
		{ "12345678\xc3\xbc", 10 },
		{ "\xe6\xbc\xa2\xf0\x9f\x98\x80", 7 },
		{ "\xef\xbf\xbf\xf4\x8f\xbf\xbf", 7 },
		{ "1234567\xff", 7 },
		{ "\x80", 0 },
		{ "\xc1\xbf", 0 },
		{ "\xc3", 0 },
		{ "\xc3x", 0 },
		{ "\xe0\x9f\xbf", 0 },
		{ "\xed\xa0\x80", 0 },
		{ "\xe6\xbc", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf4\x90\x80\x80", 0 },
		{ "\xf0\x9f\x98", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(wfs_utf8_span(rows[i].text,
					       strlen(rows[i].text)),
				 rows[i].good);
}

static void every_code_point_and_no_surrogate_is_utf8(void **state)
{
	char s[4];

	(void)state;
	for (unsigned c = 0x800; c < 0x110000; c++) {
		size_t n = c < 0x10000 ? 3 : 4;

		s[0] = (char)(n == 3 ? 0xe0 | c >> 12 : 0xf0 | c >> 18);
		s[n - 3] = n == 3 ? s[0] : (char)(0x80 | (c >> 12 & 0x3f));
		s[n - 2] = (char)(0x80 | (c >> 6 & 0x3f));
		s[n - 1] = (char)(0x80 | (c & 0x3f));
		assert_int_equal(wfs_utf8_span(s, n),
				 c >= 0xd800 && c <= 0xdfff ? 0 : n);
	}
}

static yyjson_doc *parse(char *buf, const char *text)
{
	yyjson_doc *doc = NULL;

	strcpy(buf, text);
	assert_int_equal(wfs_json_parse(buf, strlen(text), "x", &doc, NULL), 0);
	return doc;
}

static void a_repeated_key_is_found(void **state)
{
	static const struct {
		const char *text, *key;
	} rows[] = {
		{ "{}", NULL },
		{ "{\"a\":1}", NULL },
		{ "{\"a\":1,\"b\":{\"a\":1,\"a\":2}}", NULL },
		{ "{\"a\":1,\"b\":[2],\"a\":3}", "a" },
		{ "{\"x\":1,\"b\":{\"c\":1},\"\\u0062\":3}", "b" },
		{ "{\"a\":1,\"a\\u0000\":2}", NULL },
		{ "{\"\":1,\"\":2}", "" },
	};
	char buf[100];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		yyjson_doc *doc = parse(buf, rows[i].text);
		yyjson_val *key =
			wfs_json_repeated_key(yyjson_doc_get_root(doc));

		assert_int_equal(key != NULL, rows[i].key != NULL);
		if (key)
			assert_string_equal(yyjson_get_str(key), rows[i].key);
		yyjson_doc_free(doc);
	}
}

static void a_key_is_its_whole_bytes(void **state)
{
	char buf[100];
	yyjson_doc *doc = parse(buf, "{\"ab\\u0000c\":1}");
	yyjson_obj_iter it = yyjson_obj_iter_with(yyjson_doc_get_root(doc));
	yyjson_val *key = yyjson_obj_iter_next(&it);

	(void)state;
	assert_false(wfs_json_key_is(key, "ab"));
	assert_int_equal(yyjson_get_len(key), 4);
	yyjson_doc_free(doc);
}

static void bad_text_is_named_with_its_place(void **state)
{
	struct wfs_err err = { 0 };
	yyjson_doc *doc = NULL;
	char buf[32] = "{\"a\":\xff}";

	(void)state;
	assert_int_equal(wfs_json_parse(buf, 7, "it", &doc, &err), -EBADMSG);
	assert_string_equal(err.text, "it: not valid UTF-8 at byte 5");
	strcpy(buf, "{\"a\":x}");
	assert_int_equal(wfs_json_parse(buf, 7, "it", &doc, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "it: not valid JSON at byte 5: "));
	assert_int_equal(wfs_json_parse(buf, 0, "it", &doc, &err), -EBADMSG);
	assert_null(doc);
}

/* `count` times `open`, then `count` times `close`. */
static int parse_nested(const char *open, const char *close, size_t count,
			struct wfs_err *err)
{
	struct wfs_text t = { 0 };
	yyjson_doc *doc = NULL;
	size_t len;
	int rc;

	for (size_t i = 0; i < count; i++)
		wfs_text_add(&t, "%s", open);
	for (size_t i = 0; i < count; i++)
		wfs_text_add(&t, "%s", close);
	len = t.len;
	wfs_text_add(&t, "%*s", WFS_JSON_PADDING, "");
	rc = wfs_json_parse(t.data, len, "it", &doc, err);
	yyjson_doc_free(doc);
	free(t.data);
	return rc;
}

static void the_bound_on_memory_refuses_no_valid_text(void **state)
{
	(void)state;
	assert_true(
		yyjson_read_max_memory_usage(100000000, YYJSON_READ_INSITU) <=
		(size_t)WFS_JSON_COST * 100000000);
	for (size_t n = 1; n < 200000; n += 1 + n / 7) {
		assert_int_equal(parse_nested("[", "]", n, NULL), 0);
		assert_int_equal(parse_nested("{\"\":[", "]}", n, NULL), 0);
		assert_int_equal(parse_nested("[", "", n, NULL), -EBADMSG);
	}
}

static void brackets_that_nothing_closes_do_not_take_memory(void **state)
{
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(parse_nested("[", "", 1000000, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "it: not valid JSON: more brackets"));
	assert_int_equal(parse_nested("[", "", 3, &err), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(utf8_is_checked_to_the_byte),
		T(every_code_point_and_no_surrogate_is_utf8),
		T(a_repeated_key_is_found),
		T(a_key_is_its_whole_bytes),
		T(bad_text_is_named_with_its_place),
		T(the_bound_on_memory_refuses_no_valid_text),
		T(brackets_that_nothing_closes_do_not_take_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
