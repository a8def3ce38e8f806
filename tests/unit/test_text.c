/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes, UTF-8, escapes, JSON strings, small files.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/unit/chance.h"
#include "tests/unit/scratch.h"

#define KIB 1024ull

static void sizes_are_read_in_powers_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "17", 17 },
		{ "17B", 17 },
		{ "4K", 4 * KIB },
		{ "4k", 4 * KIB },
		{ "256M", 256 * KIB * KIB },
		{ "256MiB", 256 * KIB * KIB },
		{ "256mib", 256 * KIB * KIB },
		{ "2GB", 2 * KIB * KIB * KIB },
		{ "3T", 3 * KIB * KIB * KIB * KIB },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215T", 16777215 * KIB * KIB * KIB * KIB },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t bytes = 1;

		assert_int_equal(wfs_size_parse(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
}

static void other_sizes_are_refused(void **state)
{
	static const char *const bad[] = { "",	  "K",	 "-1",	  "+1",
					   " 1",  "1 ",	 "1.5G",  "1KK",
					   "1iB", "1Ki", "1Gig",  "0x10",
					   "1P",  "1Bi", "1KiBB", "G1" };
	static const char *const large[] = { "18446744073709551616",
					     "16777216T", "99999999999999999G",
					     "99999999999999999999999999" };
	uint64_t bytes = 5;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wfs_size_parse(bad[i], &bytes), -EINVAL);
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		assert_int_equal(wfs_size_parse(large[i], &bytes), -ERANGE);
	assert_int_equal(bytes, 5);
}

static void sizes_are_written_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ 1024 * KIB - 1, "1.0 MiB" },
		{ 1503238553, "1.4 GiB" },
		{ UINT64_MAX, "16.0 EiB" },
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(wfs_size_format(cases[i].bytes, buf,
						    sizeof(buf)),
				    cases[i].text);
}

static void only_well_formed_utf8_is_a_sequence(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "a", 1 },
		{ "\xc3\xa9", 2 },
		{ "\xe2\x82\xac", 3 },
		{ "\xf0\x9f\x98\x80", 4 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "\x80", 0 },		   /* lone continuation */
		{ "\xc0\x80", 0 },	   /* overlong NUL */
		{ "\xc1\xbf", 0 },	   /* overlong */
		{ "\xe0\x9f\xbf", 0 },	   /* overlong */
		{ "\xed\xa0\x80", 0 },	   /* surrogate */
		{ "\xf0\x8f\xbf\xbf", 0 }, /* overlong */
		{ "\xf4\x90\x80\x80", 0 }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", 0 }, /* no such lead */
		{ "\xe2\x82", 0 },	   /* cut */
		{ "\xe2\x82\x28", 0 },	   /* third byte */
		{ "\xf0\x9f\x98\x28", 0 }, /* fourth byte */
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(wfs_utf8_sequence(cases[i].bytes,
						   strlen(cases[i].bytes)),
				 cases[i].len);
}

static void an_escaped_line_is_cut_between_sequences(void **state)
{
	char out[8];

	(void)state;
	wfs_text_escape("abc\ndef", out, sizeof(out));
	assert_string_equal(out, "abc\\x0a");
	wfs_text_escape("abcde\xe2\x82\xac", out, sizeof(out));
	assert_string_equal(out, "abcde");
	wfs_text_escape("abcd\xe2\x82\xac", out, sizeof(out));
	assert_string_equal(out, "abcd\xe2\x82\xac");
	wfs_text_escape("x", out, 1);
	assert_string_equal(out, "");
}

static void a_json_string_escapes_what_json_forbids(void **state)
{
	struct wfs_text t = { 0 };

	(void)state;
	wfs_text_add_json(&t, "a\"b\\c\n\x01\x7f\xc3\xa9\xff/");
	assert_string_equal(t.data, "\"a\\\"b\\\\c\\u000a\\u0001\\u007f"
				    "\xc3\xa9\xef\xbf\xbd/\"");
	assert_int_equal(t.len, strlen(t.data));
	free(t.data);
}

static void a_text_grows_and_may_hold_zeros(void **state)
{
	struct wfs_text t = { 0 };

	(void)state;
	wfs_text_add_bytes(&t, "", 0);
	assert_string_equal(t.data, "");
	for (int i = 0; i < 1000; i++)
		wfs_text_add(&t, "%03d,", i);
	assert_int_equal(t.len, 4000);
	assert_memory_equal(t.data + 3996, "999,", 5);
	wfs_text_add_bytes(&t, "\0x", 2);
	assert_int_equal(t.len, 4002);
	assert_memory_equal(t.data + 4000, "\0x", 3);
	free(t.data);
}

static void random_bytes_always_become_one_line_and_valid_json(void **state)
{
	struct chance c = chance_new();

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct wfs_text t = { 0 };
		char in[64], out[48];
		size_t len = chance_below(&c, sizeof(in));
		size_t left;

		for (size_t i = 0; i < len; i++)
			in[i] = (char)(1 + chance_below(&c, 255));
		in[len] = '\0';
		wfs_text_escape(in, out, 1 + chance_below(&c, sizeof(out)));
		for (const char *p = out; *p; p++)
			assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
		wfs_text_add_json(&t, in);
		left = t.len;
		for (const char *p = t.data; left;) {
			size_t n = wfs_utf8_sequence(p, left);

			assert_true(n > 0 && (unsigned char)*p >= 0x20);
			p += n;
			left -= n;
		}
		free(t.data);
	}
}

static void a_hash_is_fnv1a_and_can_be_continued(void **state)
{
	(void)state;
	/* The reference values of the algorithm's authors. */
	assert_true(wfs_hash("", 0, WFS_HASH_SEED) == 0xcbf29ce484222325ull);
	assert_true(wfs_hash("a", 1, WFS_HASH_SEED) == 0xaf63dc4c8601ec8cull);
	assert_true(wfs_hash("foobar", 6, WFS_HASH_SEED) ==
		    0x85944171f73967e8ull);
	assert_true(wfs_hash("bar", 3, wfs_hash("foo", 3, WFS_HASH_SEED)) ==
		    0x85944171f73967e8ull);
}

static void a_small_file_is_read_up_to_the_limit(void **state)
{
	const struct scratch *s = *state;
	char *path wfs_autofree = scratch_path(s, "small");
	char *bytes wfs_autofree = wfs_calloc(1, 10000);
	char *text = NULL;
	size_t len = 0;

	scratch_write(s, "small", bytes, 10000);
	assert_int_equal(wfs_file_slurp(path, 9999, &text, &len), -EFBIG);
	assert_int_equal(wfs_file_slurp(path, 0, &text, &len), -EFBIG);
	assert_null(text);
	assert_int_equal(wfs_file_slurp(path, 10000, &text, &len), 0);
	assert_int_equal(len, 10000);
	assert_memory_equal(text, bytes, 10000);
	assert_int_equal(text[10000], '\0');
	free(text);
	assert_int_equal(
		wfs_file_slurp("/proc/self/stat", 1 << 20, &text, &len), 0);
	assert_true(len > 0);
	free(text);
	assert_int_equal(wfs_file_slurp("/nowhere/at/all", 10, &text, &len),
			 -ENOENT);
	assert_int_equal(wfs_file_slurp("/tmp", 10, &text, &len), -EISDIR);
}

static void what_is_stolen_is_not_cleaned_up(void **state)
{
	char *kept;
	int fd;

	(void)state;
	{
		char *p wfs_autofree = wfs_strdup("kept");
		int own wfs_autoclose = open("/dev/null", O_RDONLY);

		kept = wfs_steal_ptr(&p);
		fd = wfs_steal_fd(&own);
		assert_null(p);
		assert_int_equal(own, -1);
	}
	assert_string_equal(kept, "kept");
	assert_int_equal(close(fd), 0);
	free(kept);
}

static void a_text_that_is_missing_is_equal_to_no_other(void **state)
{
	char *copy wfs_autofree = wfs_strdup_or_null("kept");

	(void)state;
	assert_string_equal(copy, "kept");
	assert_null(wfs_strdup_or_null(NULL));
	assert_true(wfs_text_same(copy, "kept"));
	assert_true(wfs_text_same(NULL, NULL));
	assert_false(wfs_text_same(NULL, ""));
	assert_false(wfs_text_same("", NULL));
	assert_false(wfs_text_same(copy, "keep"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sizes_are_read_in_powers_of_1024),
		T(other_sizes_are_refused),
		T(sizes_are_written_for_people),
		T(only_well_formed_utf8_is_a_sequence),
		T(an_escaped_line_is_cut_between_sequences),
		T(a_json_string_escapes_what_json_forbids),
		T(a_text_grows_and_may_hold_zeros),
		T(random_bytes_always_become_one_line_and_valid_json),
		T(a_hash_is_fnv1a_and_can_be_continued),
		T(a_small_file_is_read_up_to_the_limit),
		T(what_is_stolen_is_not_cleaned_up),
		T(a_text_that_is_missing_is_equal_to_no_other),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
