/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MODEL@tpN on the command line: where it is split, and where not.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/scratch.h"
#include "tools/layout_arg.h"

/* What follows "<working directory>/" in the path that `text` is split to. */
static void assert_split(const char *text, const char *path, unsigned tp)
{
	char *cwd wfs_autofree = getcwd(NULL, 0);
	char *want wfs_autofree = wfs_asprintf("%s/%s", cwd, path);
	struct wfs_layout_arg arg;
	struct wfs_err err = { 0 };

	if (wfs_layout_arg_split(text, &arg, &err))
		fail_msg("'%s' was refused: %s", text, err.text);
	assert_string_equal(want, arg.path);
	assert_int_equal(tp > 0, arg.has_spec);
	if (tp)
		assert_int_equal(tp, arg.spec.tp);
	wfs_layout_arg_clear(&arg);
}

static void assert_refused(const char *text, const char *word)
{
	struct wfs_layout_arg arg = { 0 };
	struct wfs_err err = { 0 };

	assert_int_equal(-EINVAL, wfs_layout_arg_split(text, &arg, &err));
	assert_null(arg.path);
	if (!strstr(err.text, word))
		fail_msg("no '%s' in: %s", word, err.text);
}

static void a_layout_follows_the_last_at(void **state)
{
	(void)state;
	assert_split("llama@tp4", "llama", 4);
	assert_split("a/b/llama@tp2", "a/b/llama", 2);
	assert_split("llama@tp16/", "llama", 16);
	assert_split("x@y@tp4", "x@y", 4);
	assert_split("x@tp2@tp4", "x@tp2", 4);
	assert_split("a@tp2/llama@tp4", "a@tp2/llama", 4);
}

static void stages_and_names_are_part_of_it(void **state)
{
	struct wfs_layout_arg arg;

	(void)state;
	assert_int_equal(0, wfs_layout_arg_split("m@tp2pp4+hf", &arg, NULL));
	assert_int_equal(2, arg.spec.tp);
	assert_int_equal(4, arg.spec.pp);
	assert_true(arg.spec.hf);
	wfs_layout_arg_clear(&arg);
}

static void a_path_without_an_at_has_no_layout(void **state)
{
	(void)state;
	assert_split("llama", "llama", 0);
	assert_split("a@tp2/llama", "a@tp2/llama", 0);
}

static void a_path_that_exists_is_one(void **state)
{
	char *here wfs_autofree = getcwd(NULL, 0);
	const struct scratch *s = *state;

	scratch_mkdir(s, "hub@tp2");
	assert_int_equal(0, chdir(s->path));
	assert_split("hub@tp2", "hub@tp2", 0);
	assert_split("hub@tp2/", "hub@tp2", 0);
	assert_split("hub@tp2@tp4", "hub@tp2", 4);
	assert_split("hub@tp4", "hub", 4);
	assert_int_equal(0, chdir(here));
}

static void what_is_no_layout_is_named(void **state)
{
	(void)state;
	assert_refused("llama@", "'' is no layout");
	assert_refused("llama@tp0", "'tp0' is no layout");
	assert_refused("llama@tp04", "'tp04' is no layout");
	assert_refused("llama@tp4@", "'' is no layout");
	assert_refused("llama@main", "there is no '");
}

static void a_layout_may_be_given_alone(void **state)
{
	struct wfs_layout_spec spec;
	struct wfs_err err = { 0 };

	(void)state;
	assert_int_equal(0, wfs_layout_arg_spec("@tp8", &spec, &err));
	assert_int_equal(8, spec.tp);
	assert_int_equal(0, wfs_layout_arg_spec("tp2", &spec, &err));
	assert_int_equal(2, spec.tp);
	assert_int_equal(-EINVAL, wfs_layout_arg_spec("@@tp2", &spec, &err));
	assert_non_null(strstr(err.text, "'@tp2' is no layout"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_layout_follows_the_last_at),
		T(stages_and_names_are_part_of_it),
		T(a_path_without_an_at_has_no_layout),
		cmocka_unit_test_setup_teardown(a_path_that_exists_is_one,
						scratch_setup,
						scratch_teardown),
		T(what_is_no_layout_is_named),
		T(a_layout_may_be_given_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
