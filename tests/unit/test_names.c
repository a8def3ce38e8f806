/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of tensors as names of files: unchanged where they can be, reversible
 * where they cannot, and never two the same.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/keys.h"
#include "core/base/text.h"
#include "core/model/names.h"
#include "tests/unit/chance.h"

#define ROUNDS 20000

static void escapes(const char *name, size_t len, const char *file_name)
{
	char out[WFS_FILE_NAME_MAX + 1], back[WFS_FILE_NAME_MAX + 1];

	assert_int_equal(wfs_name_escape(name, len, out), strlen(file_name));
	assert_string_equal(out, file_name);
	assert_int_equal(wfs_name_unescape(out, back), len);
	assert_memory_equal(back, name, len);
	assert_int_equal(wfs_name_is_plain(name, len),
			 len == strlen(file_name) &&
				 !memcmp(name, file_name, len));
}

static void ordinary_names_stay_as_they_are(void **state)
{
	static const char *const plain[] = {
		"model.layers.0.self_attn.q_proj.weight",
		"a",
		"...",
		".hidden",
		"with space",
		"new\nline",
		"\xc3\xbc\xe6\xbc\xa2",
		"back\\slash",
		"~",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		escapes(plain[i], strlen(plain[i]), plain[i]);
}

static void names_that_are_no_file_names_are_escaped(void **state)
{
	(void)state;
	escapes("", 0, "%");
	escapes(".", 1, "%2E");
	escapes("..", 2, "%2E%2E");
	escapes("a/b", 3, "a%2Fb");
	escapes("/", 1, "%2F");
	escapes("../../etc/passwd", 16, "..%2F..%2Fetc%2Fpasswd");
	escapes("a\0b", 3, "a%00b");
	escapes("\0", 1, "%00");
	escapes("100%", 4, "100%25");
	escapes("%2F", 3, "%252F");
	escapes("%", 1, "%25");
}

static void what_no_name_escapes_to_is_not_unescaped(void **state)
{
	static const char *const bad[] = { "",	    "%4", "%41", "a%2fb",
					   "%zz",   "x%", "%%",	 "%2E",
					   "a%2Eb", "..", ".",	 "a/b" };
	char out[WFS_FILE_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (strcmp(bad[i], "%2E"))
			assert_int_equal(wfs_name_unescape(bad[i], out),
					 -EINVAL);
	assert_int_equal(wfs_name_unescape("%2E", out), 1);
}

static void names_of_255_bytes_fit_and_longer_ones_are_cut(void **state)
{
	char name[400], out[WFS_FILE_NAME_MAX + 1], other[sizeof(out)];
	char back[WFS_FILE_NAME_MAX + 1];

	(void)state;
	memset(name, 'x', sizeof(name));
	assert_true(wfs_name_is_plain(name, 255));
	assert_int_equal(wfs_name_escape(name, 255, out), 255);
	assert_memory_equal(out, name, 255);
	assert_false(wfs_name_is_plain(name, 256));
	assert_int_equal(wfs_name_escape(name, 256, out), 255);
	assert_memory_equal(out, name, 237);
	assert_memory_equal(out + 237, "%~", 2);
	assert_int_equal(wfs_name_unescape(out, back), -ENAMETOOLONG);
	assert_int_equal(wfs_name_escape(name, 257, other), 255);
	assert_string_not_equal(out, other);
	/* 253 bytes that grow to 255, and 254 that grow to 256. */
	name[100] = '/';
	assert_int_equal(wfs_name_escape(name, 253, out), 255);
	assert_int_equal(wfs_name_unescape(out, back), 253);
	assert_int_equal(wfs_name_escape(name, 254, out), 255);
	assert_int_equal(wfs_name_unescape(out, back), -ENAMETOOLONG);
}

static void a_cut_splits_neither_a_character_nor_an_escape(void **state)
{
	char name[600], out[WFS_FILE_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = "\xe6\xbc\xa2"[i % 3];
	assert_int_equal(wfs_name_escape(name, sizeof(name), out), 255);
	assert_memory_equal(out + 237, "%~", 2);
	/* One byte in front: no character ends at 237 any more. */
	name[0] = name[1] = name[2] = 'a';
	assert_int_equal(wfs_name_escape(name + 2, sizeof(name) - 2, out),
			 235 + 18);
	assert_memory_equal(out + 235, "%~", 2);
	memset(name, '/', sizeof(name));
	name[0] = 'a';
	assert_int_equal(wfs_name_escape(name, sizeof(name), out), 235 + 18);
	assert_memory_equal(out + 232, "%2F%~", 5);
}

static void a_nul_inside_the_program_is_c0_80(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(wfs_name_to_text("a\0b", 3, out), 4);
	assert_string_equal(out, "a\xc0\x80"
				 "b");
	assert_int_equal(wfs_name_to_text("", 0, out), 0);
	assert_string_equal(out, "");
}

static size_t random_name(struct chance *c, char *name, size_t max)
{
	/* Mostly what needs escaping. */
	static const char bytes[] = "ab./%~0F2E\0\xc3";
	size_t len = chance_below(c, chance_below(c, 8) ? 6 : max);

	for (size_t i = 0; i < len; i++)
		name[i] = bytes[chance_below(c, sizeof(bytes) - 1)];
	return len;
}

static void random_names_come_back_and_never_meet(void **state)
{
	struct wfs_key *names wfs_autofree = wfs_calloc(ROUNDS, sizeof(*names));
	struct wfs_key *files wfs_autofree = wfs_calloc(ROUNDS, sizeof(*files));
	char name[400], file[WFS_FILE_NAME_MAX + 1];
	char back[WFS_FILE_NAME_MAX + 1];
	struct chance chance = chance_new();

	(void)state;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		size_t len = random_name(&chance, name, sizeof(name));
		size_t n = wfs_name_escape(name, len, file);
		ssize_t m = wfs_name_unescape(file, back);

		assert_true(n >= 1 && n <= 255 && strlen(file) == n);
		assert_null(strchr(file, '/'));
		assert_true(m == (ssize_t)len || m == -ENAMETOOLONG);
		if (m >= 0)
			assert_memory_equal(back, name, len);
		names[i].s = memcpy(wfs_malloc(len + 1), name, len);
		names[i].len = (uint32_t)len;
		files[i].s = wfs_strdup(file);
		files[i].len = (uint32_t)n;
		files[i].tag = i;
	}
	wfs_keys_sort(files, ROUNDS);
	for (size_t i = 1; i < ROUNDS; i++)
		assert_int_equal(wfs_key_compare(&files[i - 1], &files[i]) == 0,
				 wfs_key_compare(&names[files[i - 1].tag],
						 &names[files[i].tag]) == 0);
	for (size_t i = 0; i < ROUNDS; i++) {
		free((void *)(uintptr_t)names[i].s);
		free((void *)(uintptr_t)files[i].s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ordinary_names_stay_as_they_are),
		T(names_that_are_no_file_names_are_escaped),
		T(what_no_name_escapes_to_is_not_unescaped),
		T(names_of_255_bytes_fit_and_longer_ones_are_cut),
		T(a_cut_splits_neither_a_character_nor_an_escape),
		T(a_nul_inside_the_program_is_c0_80),
		T(random_names_come_back_and_never_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
