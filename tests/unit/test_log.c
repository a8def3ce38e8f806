/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log on stderr: one call, one line.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tests/unit/scratch.h"

#define WRITERS 4
#define LINES	200

static void a_line_is_the_level_and_the_message(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *text wfs_autofree = NULL;

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_DEBUG);
	wfs_error("cannot open '%s'", "x");
	wfs_warn("slow");
	wfs_info("mounted models=%d", 3);
	wfs_debug("detail");
	text = scratch_captured(&c);
	assert_string_equal(text, "error cannot open 'x'\nwarn slow\n"
				  "info mounted models=3\ndebug detail\n");
}

static void less_important_lines_are_not_written(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *text wfs_autofree = NULL;

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_WARN);
	wfs_error("a");
	wfs_warn("b");
	wfs_info("c");
	wfs_debug("d");
	text = scratch_captured(&c);
	assert_string_equal(text, "error a\nwarn b\n");
}

static void a_message_is_always_one_line(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *text wfs_autofree = NULL;

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
	wfs_info("tensor '%s'", "a\nerror b\r\x7f\xff\xc2\x85");
	text = scratch_captured(&c);
	assert_string_equal(text, "info tensor "
				  "'a\\x0aerror b\\x0d\\x7f\\xff\\xc2\\x85'\n");
}

static void a_message_of_any_length_ends_its_line(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *text wfs_autofree = NULL;
	char *name wfs_autofree = wfs_malloc(100001);

	memset(name, '\n', 100000);
	name[100000] = '\0';
	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
	wfs_info("%s", name);
	wfs_info("next");
	text = scratch_captured(&c);
	assert_non_null(strstr(text, "\\x0a\ninfo next\n"));
	assert_true(strlen(text) < 10000);
}

static void errno_survives_a_call(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *text wfs_autofree = NULL;

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
	errno = ENOSPC;
	wfs_info("x");
	assert_int_equal(errno, ENOSPC);
	text = scratch_captured(&c);
	assert_string_equal(text, "info x\n");
}

static void levels_have_words(void **state)
{
	enum wfs_log_level level = WFS_LOG_DEBUG;

	(void)state;
	assert_int_equal(wfs_log_level_parse("error", &level), 0);
	assert_int_equal(level, WFS_LOG_ERROR);
	assert_int_equal(wfs_log_level_parse("warn", &level), 0);
	assert_int_equal(level, WFS_LOG_WARN);
	assert_int_equal(wfs_log_level_parse("info", &level), 0);
	assert_int_equal(level, WFS_LOG_INFO);
	assert_int_equal(wfs_log_level_parse("debug", &level), 0);
	assert_int_equal(level, WFS_LOG_DEBUG);
	assert_int_equal(wfs_log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(wfs_log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, WFS_LOG_DEBUG);
}

static void *write_lines(void *arg)
{
	char letters[101];

	memset(letters, *(const char *)arg, 100);
	letters[100] = '\0';
	for (int i = 0; i < LINES; i++)
		wfs_info("%s", letters);
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *text wfs_autofree = NULL;
	char names[WRITERS] = { 'a', 'b', 'c', 'd' };
	pthread_t threads[WRITERS];
	int lines = 0;

	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines,
						&names[i]),
				 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	text = scratch_captured(&c);
	for (char *at = text; *at; at += 106, lines++) {
		char same[2] = { at[5], '\0' };

		assert_memory_equal(at, "info ", 5);
		assert_int_equal(strspn(at + 5, same), 100);
		assert_int_equal(at[105], '\n');
	}
	assert_int_equal(lines, WRITERS * LINES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_line_is_the_level_and_the_message),
		T(less_important_lines_are_not_written),
		T(a_message_is_always_one_line),
		T(a_message_of_any_length_ends_its_line),
		T(errno_survives_a_call),
		T(levels_have_words),
		T(lines_of_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
