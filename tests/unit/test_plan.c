/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of plans: what it takes, and where it says a mistake is.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/plan/evaluate.h"

#define HEAD                                                                   \
	"plan p engine vllm >=0.30 <0.40 architectures A B\n"                  \
	"quantisation none\nindex l = 3\npipeline l leftover last\n"
#define RULE "tensor \"x.{l}\" = \"y.{l}\"\n"

static void refuses(const char *text, const char *sentence)
{
	struct wfs_plan *plan = NULL;
	struct wfs_err err = { 0 };

	if (wfs_plan_parse(text, "f", false, &plan, &err) != -EINVAL)
		fail_msg("taken: %s", text);
	assert_null(plan);
	if (strcmp(err.text, sentence))
		fail_msg("'%s' is not '%s'", err.text, sentence);
}

static struct wfs_plan *reads(const char *text)
{
	struct wfs_plan *plan = NULL;
	struct wfs_err err = { 0 };

	if (wfs_plan_parse(text, "f", false, &plan, &err))
		fail_msg("%s", err.text);
	return plan;
}

static void a_plan_says_what_it_is_for(void **state)
{
	struct wfs_plan *plan = reads(HEAD RULE);

	(void)state;
	assert_string_equal(plan->name, "p");
	assert_string_equal(plan->engine, "vllm");
	assert_string_equal(plan->version_from, "0.30");
	assert_string_equal(plan->version_below, "0.40");
	assert_int_equal(plan->architecture_count, 2);
	assert_string_equal(plan->architectures[1], "B");
	assert_int_equal(plan->rule_count, 1);
	assert_int_equal(plan->rules[0].index_count, 1);
	assert_int_equal(plan->leftover, WFS_LEFT_LAST);
	wfs_plan_put(plan);
}

static void mistakes_have_a_file_line_and_column(void **state)
{
	(void)state;
	refuses("", "f:1:1: the plan has no statement 'plan NAME'");
	refuses("plan p\n  tensor x", "f:2:10: a text in quotes expected, not "
				      "'x'");
	refuses(HEAD "tensor \"x\" = \"y\"",
		"f:5:8: a tensor without a layer needs a stage: 'stage first', "
		"'last' or 'all'");
	refuses(HEAD "tensor \"x.{q}\" = \"y\"",
		"f:5:8: no index or parameter 'q'");
	refuses(HEAD "tensor \"x.{l}\" = nothing(1)",
		"f:5:18: no operation 'nothing'");
	refuses(HEAD "let a = b",
		"f:5:9: nothing is called 'b' (config.json is asked with "
		"config.b)");
	refuses(HEAD "let a = split(1)",
		"f:5:9: 'split' takes 2 to 3 arguments, not 1");
	refuses(HEAD "let l = 1", "f:5:5: 'l' is already something else");
	refuses(HEAD "let a = \"b", "f:5:9: a text that is not closed by '\"'");
	refuses(HEAD "let a = 1 }", "f:5:11: a statement expected, not '}'");
	refuses(HEAD "let a = (1", "f:5:11: ')' expected, the file ends");
	refuses(HEAD "let a = ;", "f:5:9: unexpected character ';'");
	refuses(HEAD "when true { let a = 1 }", "f:5:13: 'let' cannot stand "
						"here");
	refuses(HEAD "include \"nobody\"",
		"f:5:9: no built-in fragment of this name");
	refuses(HEAD "def f(a) = g(a) def g(a) = f(a)",
		"f:5:12: no operation 'g'");
}

static void nesting_and_counts_are_bounded(void **state)
{
	struct wfs_text text = { 0 };

	(void)state;
	wfs_text_add(&text, "%slet a = ", HEAD);
	for (int i = 0; i < 100; i++)
		wfs_text_add(&text, "(");
	refuses(text.data, "f:5:57: nested more than 48 deep");
	text.len = 0;
	wfs_text_add(&text, "%slet a = ", HEAD);
	for (int i = 0; i < 100; i++)
		wfs_text_add(&text, "not ");
	refuses(text.data, "f:5:201: nested more than 48 deep");
	text.len = 0;
	wfs_text_add(&text, "%s", HEAD);
	for (int i = 0; i < 600; i++)
		wfs_text_add(&text, "let a%d = 1 ", i);
	refuses(text.data, "f:5:6560: more than 512 of them");
	free(text.data);
}

/* The value of `expression` over no model. */
static struct wfs_value value_of(const char *expression, struct wfs_pool *pool)
{
	char *text wfs_autofree =
		wfs_asprintf("%s%slet a = %s", HEAD, RULE, expression);
	struct wfs_plan *plan = reads(text);
	struct wfs_err err = { 0 };
	struct wfs_rank rank = { .count = 0 };
	struct wfs_model base = { .name = wfs_strdup("m"), .ranks = &rank };
	struct wfs_eval e = { .plan = plan,
			      .base = &base,
			      .tp = 4,
			      .pp = 1,
			      .pool = pool,
			      .kept = pool,
			      .err = &err };
	struct wfs_value v = { 0 };

	if (wfs_evaluate(&e, plan->lets[0].value, &v))
		v = wfs_value_text(
			wfs_pool_text(pool, err.text, strlen(err.text)));
	else if (v.kind == WFS_VALUE_TEXT)
		v.text = wfs_pool_text(pool, v.text, strlen(v.text));
	free(base.name);
	wfs_plan_put(plan);
	return v;
}

static void is_number(const char *expression, int64_t number)
{
	struct wfs_pool pool = { 0 };
	struct wfs_value v = value_of(expression, &pool);

	if ((v.kind != WFS_VALUE_INT && v.kind != WFS_VALUE_BOOL) ||
	    v.number != number)
		fail_msg("%s is %lld", expression,
			 v.kind == WFS_VALUE_TEXT ? -1ll : (long long)v.number);
	wfs_pool_clear(&pool);
}

static void is_text(const char *expression, const char *text)
{
	struct wfs_pool pool = { 0 };
	struct wfs_value v = value_of(expression, &pool);

	assert_int_equal(v.kind, WFS_VALUE_TEXT);
	if (!strstr(v.text, text))
		fail_msg("%s is '%s'", expression, v.text);
	wfs_pool_clear(&pool);
}

static void operators_bind_as_the_manual_says(void **state)
{
	(void)state;
	is_number("1 + 2 * 3", 7);
	is_number("(1 + 2) * 3", 9);
	is_number("7 - 2 - 1", 4);
	is_number("7 // 2 + 7 % 4", 6);
	is_number("-3 + 5", 2);
	is_number("true or false and false", 1);
	is_number("not false and false", 0);
	is_number("not 1 == 2", 1);
	is_number("3 in [1, 2, 1 + 2]", 1);
	is_number("config.a ?? 2 * 3", 6);
	is_number("(config.a.b ?? 1) == 1", 1);
	is_number("null ?? 5", 5);
	is_number("if(tp == 4, 1, 1 / 0)", 1);
	is_number("matches(\"abcabd\", \"*ab*d\")", 1);
	is_number("matches(\"abc\", \"*ab\")", 0);
	is_number("item([4, 5], 1)", 5);
	is_text("\"a{tp}b\"", "a4b");
}

static void what_does_not_fit_is_said_with_the_line(void **state)
{
	(void)state;
	is_text("7 / 2", "7 / 2 is not a whole number (f:6)");
	is_text("1 // 0", "1 divided by 0 (f:6)");
	is_text("\"a\" + 1", "two numbers expected, not a text and a number");
	is_text("1 and true", "true or false expected, not a number");
	is_text("config.a", "config.json of model 'm' has no 'a'");
	is_text("item([1], 1)", "there is no item 1");
	is_text("l", "the index 'l' has no value here");
}

static void versions_compare_by_their_numbers(void **state)
{
	(void)state;
	assert_true(wfs_version_compare("0.9", "0.32") < 0);
	assert_true(wfs_version_compare("0.32.1", "0.32") > 0);
	assert_true(wfs_version_compare("0.32.0", "0.32") == 0);
	assert_true(wfs_version_compare("1", "0.99") > 0);
}

static void patterns_take_texts_and_whole_numbers(void **state)
{
	(void)state;
	assert_true(wfs_glob("a.12.b", "a.\x01.b"));
	assert_false(wfs_glob("a.x.b", "a.\x01.b"));
	assert_false(wfs_glob("a..b", "a.\x01.b"));
	assert_true(wfs_glob("a.b.c", "*.c"));
	assert_true(wfs_glob("", "*"));
	assert_false(wfs_glob("a", ""));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_plan_says_what_it_is_for),
		T(mistakes_have_a_file_line_and_column),
		T(nesting_and_counts_are_bounded),
		T(operators_bind_as_the_manual_says),
		T(what_does_not_fit_is_said_with_the_line),
		T(versions_compare_by_their_numbers),
		T(patterns_take_texts_and_whole_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
