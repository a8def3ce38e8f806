/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading mountinfo, and the paths that are looked up in it.
 */
#include "tests/unit/t.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/base/mounts.h"
#include "tools/path.h"

static const char table[] =
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	"23 22 0:5 / /proc rw,nosuid shared:2 master:1 - proc proc rw\n"
	"nonsense\n"
	"40 22 0:41 / /weights ro,nosuid - fuse.weightfs /models ro,user_id=0\n"
	"41 22 0:42 / /a\\040b\\134c\\011d ro - fuse.weightfs no\\040ne ro\n"
	"42 22 0:43 / /weights/sub rw - tmpfs tmpfs rw\n"
	"43 40 0:44 / /weights rw - tmpfs over rw\n"
	"99 22 0:45 / /cut rw\n";

static int parse(void **state)
{
	struct wfs_mounts *mounts = wfs_calloc(1, sizeof(*mounts));

	wfs_mounts_parse(table, mounts);
	*state = mounts;
	return 0;
}

static int drop(void **state)
{
	wfs_mounts_clear(*state);
	free(*state);
	return 0;
}

#define TM(name) cmocka_unit_test_setup_teardown(name, parse, drop)

static void every_field_that_is_used_is_read(void **state)
{
	struct wfs_mounts *mounts = *state;
	const struct wfs_mount *m = &mounts->rows[1];

	assert_int_equal(23, m->id);
	assert_int_equal(22, m->parent);
	assert_int_equal(0, m->major);
	assert_int_equal(5, m->minor);
	assert_string_equal("/proc", m->point);
	assert_string_equal("proc", m->fstype);
	assert_string_equal("proc", m->source);
}

static void lines_that_are_none_are_passed_over(void **state)
{
	struct wfs_mounts *mounts = *state;

	assert_int_equal(6, mounts->count);
	assert_null(wfs_mounts_at(mounts, "/cut"));
}

static void escapes_of_blanks_and_backslashes_are_undone(void **state)
{
	const struct wfs_mount *m = wfs_mounts_at(*state, "/a b\\c\td");

	assert_non_null(m);
	assert_string_equal("no ne", m->source);
	assert_true(wfs_mount_is_weightfs(m));
}

static void the_topmost_of_two_mounts_on_a_path_is_found(void **state)
{
	const struct wfs_mount *m = wfs_mounts_at(*state, "/weights");

	assert_string_equal("over", m->source);
	assert_false(wfs_mount_is_weightfs(m));
}

static void a_path_lies_in_the_mount_with_the_longest_point(void **state)
{
	const struct wfs_mounts *mounts = *state;

	assert_int_equal(43, wfs_mounts_of(mounts, "/weights/x")->id);
	assert_int_equal(42, wfs_mounts_of(mounts, "/weights/sub/y")->id);
	assert_int_equal(22, wfs_mounts_of(mounts, "/weightsx")->id);
	assert_int_equal(22, wfs_mounts_of(mounts, "/")->id);
	assert_null(wfs_mounts_of(mounts, "relative"));
}

static void a_line_of_the_kernel_is_understood(void **state)
{
	struct wfs_mounts mounts;

	(void)state;
	assert_int_equal(0, wfs_mounts_read(&mounts, NULL));
	assert_non_null(wfs_mounts_at(&mounts, "/"));
	wfs_mounts_clear(&mounts);
}

static void assert_absolute(const char *want, const char *path)
{
	char *got wfs_autofree = wfs_path_absolute(path);

	assert_string_equal(want, got);
}

static void a_path_is_made_absolute_without_touching_it(void **state)
{
	(void)state;
	assert_absolute("/", "/");
	assert_absolute("/", "///.//");
	assert_absolute("/nowhere/x", "/nowhere//x/");
	assert_absolute("/nowhere/../x", "/nowhere/./../x");
}

static void a_mount_point_is_found_through_links(void **state)
{
	char dir[] = "/tmp/weightfs-test-XXXXXX";
	char *real wfs_autofree = NULL, *sub wfs_autofree = NULL;
	char *link wfs_autofree = NULL, *up wfs_autofree = NULL;
	char *got[3];

	(void)state;
	assert_non_null(mkdtemp(dir));
	real = realpath(dir, NULL);
	sub = wfs_asprintf("%s/sub", real);
	link = wfs_asprintf("%s/link", real);
	up = wfs_asprintf("%s/sub/../link/..", real);
	assert_int_equal(0, mkdir(sub, 0755));
	assert_int_equal(0, symlink("./sub", link));
	got[0] = wfs_path_mountpoint(link);
	got[1] = wfs_path_mountpoint(up);
	unlink(link);
	got[2] = wfs_path_mountpoint(link);
	rmdir(sub);
	rmdir(dir);
	assert_string_equal(sub, got[0]);
	assert_string_equal(real, got[1]);
	assert_string_equal(link, got[2]);
	for (unsigned i = 0; i < 3; i++)
		free(got[i]);
}

static void links_in_a_circle_come_to_an_end(void **state)
{
	char dir[] = "/tmp/weightfs-test-XXXXXX";
	char *a wfs_autofree = NULL, *got wfs_autofree = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	a = wfs_asprintf("%s/a", dir);
	assert_int_equal(0, symlink("a", a));
	got = wfs_path_mountpoint(a);
	unlink(a);
	rmdir(dir);
	assert_non_null(strstr(got, "/a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TM(every_field_that_is_used_is_read),
		TM(lines_that_are_none_are_passed_over),
		TM(escapes_of_blanks_and_backslashes_are_undone),
		TM(the_topmost_of_two_mounts_on_a_path_is_found),
		TM(a_path_lies_in_the_mount_with_the_longest_point),
		T(a_line_of_the_kernel_is_understood),
		T(a_path_is_made_absolute_without_touching_it),
		T(a_mount_point_is_found_through_links),
		T(links_in_a_circle_come_to_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
