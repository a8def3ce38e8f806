/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers write in a request: ranges, tokens, waits, tags, addresses.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/scratch.h"
#include "transport/seed/listen.h"
#include "transport/seed/parse.h"
#include "transport/seed/token.h"

static void a_range_is_cut_at_the_end(void **state)
{
	static const struct {
		const char *text;
		uint64_t size, off, len;
	} rows[] = {
		{ "bytes=0-0", 10, 0, 1 },
		{ "bytes=2-5", 10, 2, 4 },
		{ "bytes=2-", 10, 2, 8 },
		{ "bytes=9-99", 10, 9, 1 },
		{ "bytes=-3", 10, 7, 3 },
		{ "bytes=-30", 10, 0, 10 },
		{ "BYTES = 1-1", 10, 1, 1 },
		{ "bytes=0-18446744073709551615", 10, 0, 10 },
		{ "bytes=0-99999999999999999999", 10, 0, 10 },
		{ "bytes=0-", UINT64_MAX, 0, UINT64_MAX },
		{ "bytes=-18446744073709551615", 10, 0, 10 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wfs_range got = { 0 };

		if (wfs_range_parse(rows[i].text, rows[i].size, &got))
			fail_msg("refused: %s", rows[i].text);
		assert_true(got.off == rows[i].off && got.len == rows[i].len);
	}
}

static void a_range_that_is_none_has_a_reason(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {
		{ "", -ENOENT },
		{ "lines=1-2", -ENOENT },
		{ "bytes", -ENOENT },
		{ "bytes=", -EINVAL },
		{ "bytes=-", -EINVAL },
		{ "bytes=5", -EINVAL },
		{ "bytes=5-4", -EINVAL },
		{ "bytes=+1-2", -EINVAL },
		{ "bytes=1- 2", -EINVAL },
		{ "bytes=1-2x", -EINVAL },
		{ "bytes=--2", -EINVAL },
		{ "bytes=1-2,4-5", -E2BIG },
		{ "bytes=10-", -ERANGE },
		{ "bytes=99999999999999999999-", -ERANGE },
		{ "bytes=-0", -ERANGE },
	};
	struct wfs_range got = { 7, 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (wfs_range_parse(rows[i].text, 10, &got) != rows[i].rc)
			fail_msg("not %d: %s", rows[i].rc, rows[i].text);
	}
	assert_int_equal(wfs_range_parse("bytes=0-", 0, &got), -ERANGE);
	assert_int_equal(wfs_range_parse("bytes=-1", 0, &got), -ERANGE);
	assert_true(got.off == 7 && got.len == 7);
}

static void a_bearer_is_what_follows_the_word(void **state)
{
	(void)state;
	assert_string_equal(wfs_bearer_parse("Bearer abc"), "abc");
	assert_string_equal(wfs_bearer_parse("bearer   abc"), "abc");
	assert_null(wfs_bearer_parse("Bearer"));
	assert_null(wfs_bearer_parse("Bearer "));
	assert_null(wfs_bearer_parse("Basic abc"));
	assert_null(wfs_bearer_parse(""));
}

static void a_wait_is_some_seconds(void **state)
{
	static const char *const bad[] = {
		"",   "x",    "-1",
		"+1", "1s",   "31",
		".5", "30.1", "99999999999999999999"
	};
	uint64_t ns = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wfs_wait_parse(bad[i], &ns), -EINVAL);
	assert_int_equal(ns, 7);
	assert_int_equal(wfs_wait_parse("30", &ns), 0);
	assert_true(ns == 30000000000);
	assert_int_equal(wfs_wait_parse("0.25", &ns), 0);
	assert_int_equal(ns, 250000000);
	assert_int_equal(wfs_wait_parse("0.0000000001", &ns), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(wfs_wait_parse("1.", &ns), 0);
}

static void a_number_has_digits_alone(void **state)
{
	static const char *const bad[] = {
		"", "-1", "1 ", "0x1", "2147483648", "99999999999999999999"
	};
	unsigned n = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wfs_number_parse(bad[i], &n), -EINVAL);
	assert_int_equal(n, 7);
	assert_int_equal(wfs_number_parse("2147483647", &n), 0);
	assert_int_equal(n, 2147483647);
}

static void a_tag_is_found_in_a_list(void **state)
{
	(void)state;
	assert_true(wfs_etag_listed("\"a\"", "a", false));
	assert_true(wfs_etag_listed(" \"x\" , \"a\"", "a", false));
	assert_true(wfs_etag_listed("\"x,y\",\"a\"", "a", false));
	assert_true(wfs_etag_listed("*", "a", false));
	assert_true(wfs_etag_listed("W/\"a\"", "a", true));
	assert_false(wfs_etag_listed("W/\"a\"", "a", false));
	assert_false(wfs_etag_listed("\"ab\"", "a", true));
	assert_false(wfs_etag_listed("a", "a", true));
	assert_false(wfs_etag_listed("\"a", "a", true));
	assert_false(wfs_etag_listed("\"x\" \"a\"", "a", true));
	assert_false(wfs_etag_listed("", "a", true));
}

static void a_word_is_found_in_a_list(void **state)
{
	(void)state;
	assert_true(wfs_word_listed("Upgrade", "upgrade"));
	assert_true(wfs_word_listed("keep-alive, Upgrade", "upgrade"));
	assert_true(wfs_word_listed(",,upgrade ,x", "upgrade"));
	assert_false(wfs_word_listed("upgrades", "upgrade"));
	assert_false(wfs_word_listed("", "upgrade"));
}

static void an_address_is_a_host_and_a_port(void **state)
{
	static const struct {
		const char *text, *host, *port;
	} rows[] = {
		{ "1.2.3.4:5", "1.2.3.4", "5" },
		{ "host", "host", "7420" },
		{ ":5", "", "5" },
		{ "[::1]:5", "::1", "5" },
		{ "[::1]", "::1", "7420" },
		{ "h:0", "h", "0" },
	};
	char host[WFS_LISTEN_HOST], port[WFS_LISTEN_PORT], many[400];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(wfs_listen_parse(rows[i].text, host, port), 0);
		assert_string_equal(host, rows[i].host);
		assert_string_equal(port, rows[i].port);
	}
	memset(many, 'a', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(wfs_listen_parse(many, host, port), -EINVAL);
	many[0] = '[';
	many[398] = ']';
	assert_int_equal(wfs_listen_parse(many, host, port), -EINVAL);
}

static void a_token_is_itself_and_nothing_else(void **state)
{
	struct wfs_token token;
	struct wfs_err err;
	char *path;

	scratch_write(*state, "token", "abc\r\n", 0);
	path = scratch_path(*state, "token");
	assert_int_equal(wfs_token_load(path, &token, &err), 0);
	assert_true(wfs_token_is(&token, "abc"));
	assert_false(wfs_token_is(&token, "ab"));
	assert_false(wfs_token_is(&token, "abcd"));
	assert_false(wfs_token_is(&token, ""));
	assert_false(wfs_token_is(&token, NULL));
	scratch_write(*state, "token", "abc \n\n", 0);
	assert_int_equal(wfs_token_load(path, &token, &err), 0);
	assert_true(wfs_token_is(&token, "abc"));
	scratch_write(*state, "token", "a\0c", 3);
	assert_int_equal(wfs_token_load(path, &token, &err), -EINVAL);
	scratch_write(*state, "token", "a c\n", 0);
	assert_int_equal(wfs_token_load(path, &token, &err), -EINVAL);
	scratch_write(*state, "token", "a\nc\n", 0);
	assert_int_equal(wfs_token_load(path, &token, &err), -EINVAL);
	scratch_write(*state, "token", "\n", 0);
	assert_int_equal(wfs_token_load(path, &token, &err), -EINVAL);
	assert_non_null(strstr(err.text, "one line"));
	free(path);
	assert_int_equal(wfs_token_load("/nonexistent/t", &token, &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "'/nonexistent/t'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_range_is_cut_at_the_end),
		T(a_range_that_is_none_has_a_reason),
		T(a_bearer_is_what_follows_the_word),
		T(a_wait_is_some_seconds),
		T(a_number_has_digits_alone),
		T(a_tag_is_found_in_a_list),
		T(a_word_is_found_in_a_list),
		T(an_address_is_a_host_and_a_port),
		cmocka_unit_test_setup_teardown(
			a_token_is_itself_and_nothing_else, scratch_setup,
			scratch_teardown),
	};

	return cmocka_run_group_tests_name("seed_parse", tests, NULL, NULL);
}
