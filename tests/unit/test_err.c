/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors with a text: what is kept, cut and escaped.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"

static void set_returns_the_code_and_keeps_code_and_text(void **state)
{
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(wfs_err_set(&err, -EIO, "cannot read '%s'", "x"),
			 -EIO);
	assert_int_equal(err.code, -EIO);
	assert_string_equal(err.text, "cannot read 'x'");
}

static void nobody_need_want_the_text(void **state)
{
	(void)state;
	assert_int_equal(wfs_err_set(NULL, -ENOENT, "gone"), -ENOENT);
	assert_int_equal(wfs_err_prefix(NULL, "model 'm'"), 0);
}

static void a_hostile_name_cannot_forge_a_line(void **state)
{
	struct wfs_err err = { 0 };

	(void)state;
	wfs_err_set(&err, -EINVAL, "bad '%s'", "a\nerror all is lost\x1b[2J");
	assert_string_equal(err.text, "bad 'a\\x0aerror all is lost\\x1b[2J'");
}

static void a_long_text_is_cut(void **state)
{
	char name[2 * WFS_ERR_TEXT];
	struct wfs_err err = { 0 };

	(void)state;
	memset(name, '\n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	wfs_err_set(&err, -EINVAL, "%s", name);
	/* Whole escapes only. */
	assert_int_equal(strlen(err.text), (WFS_ERR_TEXT - 1) / 4 * 4);
	assert_string_equal(err.text + strlen(err.text) - 4, "\\x0a");
}

static void a_prefix_goes_in_front_and_keeps_the_code(void **state)
{
	struct wfs_err err = { 0 };

	(void)state;
	wfs_err_set(&err, -EBADMSG, "the header is no JSON");
	assert_int_equal(wfs_err_prefix(&err, "model '%s'", "m"), -EBADMSG);
	assert_string_equal(err.text, "model 'm': the header is no JSON");
}

static void a_prefix_may_be_as_long_as_the_text(void **state)
{
	char name[2 * WFS_ERR_TEXT];
	struct wfs_err err = { 0 };

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	wfs_err_set(&err, -EIO, "%s", name);
	assert_int_equal(wfs_err_prefix(&err, "%s", name), -EIO);
	assert_int_equal(strlen(err.text), WFS_ERR_TEXT - 1);
}

static void an_argument_may_be_the_text_itself(void **state)
{
	struct wfs_err err = { 0 };

	(void)state;
	wfs_err_set(&err, -EIO, "inner");
	wfs_err_set(&err, -ENOENT, "outer (%s)", err.text);
	assert_string_equal(err.text, "outer (inner)");
	assert_int_equal(err.code, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(set_returns_the_code_and_keeps_code_and_text),
		T(nobody_need_want_the_text),
		T(a_hostile_name_cannot_forge_a_line),
		T(a_long_text_is_cut),
		T(a_prefix_goes_in_front_and_keeps_the_code),
		T(a_prefix_may_be_as_long_as_the_text),
		T(an_argument_may_be_the_text_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
