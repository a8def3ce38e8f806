/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plans there are: a user's before the built-in ones.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/plans.h"
#include "tests/unit/scratch.h"

static const char small[] = "plan small engine e architectures A\n"
			    "quantisation none\n"
			    "tensor \"x\" stage all = \"x\"\n";

static void every_built_in_plan_is_read(void **state)
{
	struct wfs_plans plans = { 0 };
	struct wfs_err err = { 0 };

	(void)state;
	if (wfs_plans_load(NULL, &plans, &err))
		fail_msg("%s", err.text);
	assert_true(plans.count > 5);
	for (size_t i = 0; i < plans.count; i++) {
		assert_string_equal(wfs_plan_file(plans.plans[i]), "built-in");
		assert_true(strlen(wfs_plan_name(plans.plans[i])));
		assert_true(strlen(wfs_plan_engine(plans.plans[i])));
		assert_true(strlen(wfs_plan_architectures(plans.plans[i])));
		assert_true(strlen(wfs_plan_quantisations(plans.plans[i])));
	}
	wfs_plans_clear(&plans);
	assert_int_equal(plans.count, 0);
}

static void a_users_plans_come_first_and_in_order(void **state)
{
	const struct scratch *s = *state;
	struct wfs_plans plans = { 0 };
	struct wfs_err err = { 0 };

	scratch_write(s, "b.plan", small, 0);
	scratch_write(s, "a.plan",
		      "plan first engine e >=1 <2 architectures A "
		      "B quantisation none tensor \"x\" stage all "
		      "= \"x\"",
		      0);
	scratch_write(s, "c.txt", "no plan", 0);
	scratch_write(s, ".hidden.plan", "no plan", 0);
	if (wfs_plans_load(s->path, &plans, &err))
		fail_msg("%s", err.text);
	assert_string_equal(wfs_plan_name(plans.plans[0]), "first");
	assert_string_equal(wfs_plan_engine(plans.plans[0]), "e >=1 <2");
	assert_string_equal(wfs_plan_architectures(plans.plans[0]), "A, B");
	assert_string_equal(wfs_plan_quantisations(plans.plans[0]), "none");
	assert_string_equal(wfs_plan_name(plans.plans[1]), "small");
	assert_non_null(strstr(wfs_plan_file(plans.plans[1]), "/b.plan"));
	assert_string_equal(wfs_plan_file(plans.plans[2]), "built-in");
	wfs_plans_clear(&plans);
}

static void refuses(const struct scratch *s, const char *dir, int code,
		    const char *sentence)
{
	char *path wfs_autofree = scratch_path(s, dir);
	struct wfs_plans plans = { .count = 77 };
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_plans_load(path, &plans, &err), code);
	assert_int_equal(plans.count, 77);
	if (!strstr(err.text, sentence))
		fail_msg("'%s' does not say '%s'", err.text, sentence);
}

static void a_mistake_in_a_users_plan_names_the_file(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "x/a.plan", small, 0);
	scratch_write(s, "x/b.plan", "plan x\nengine", 0);
	refuses(s, "x", -EINVAL,
		"/x/b.plan:2:7: the name of an engine "
		"expected");
	scratch_write(s, "y/a.plan", "plan\0x", 6);
	refuses(s, "y", -EINVAL,
		"/y/a.plan:1:1: a plan is text, this holds "
		"NULs");
	refuses(s, "missing", -ENOENT, "cannot read plans in");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(every_built_in_plan_is_read),
		cmocka_unit_test_setup_teardown(
			a_users_plans_come_first_and_in_order, scratch_setup,
			scratch_teardown),
		cmocka_unit_test_setup_teardown(
			a_mistake_in_a_users_plan_names_the_file, scratch_setup,
			scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
