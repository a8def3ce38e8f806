/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that change under a source: what is stale, what is harmless, and that
 * a replaced checkpoint is read whole.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tests/unit/checkpoint.h"

/* A checkpoint "m" with the file "f", old enough for its times to move. */
static struct wfs_source *one_file(const struct scratch *s)
{
	struct wfs_source *src;

	scratch_write(s, "m/f", "old bytes", 0);
	scratch_age(s, "m/f");
	src = checkpoint_open(s, "m");
	assert_int_equal(wfs_region_check(checkpoint_region(src, "f")), 0);
	return src;
}

/* Stale, said once; and a read says so as well. */
static void is_stale(const struct scratch *s, struct wfs_source *src)
{
	struct wfs_region *r = checkpoint_region(src, "f");
	struct scratch_capture c = scratch_capture_stderr(s);
	char *log wfs_autofree = NULL;
	int first = wfs_region_check(r);
	char buf[16];

	log = scratch_captured(&c);
	assert_int_equal(first, -ESTALE);
	assert_non_null(strstr(log, "error 'f' of '"));
	assert_int_equal(wfs_region_check(r), -ESTALE);
	assert_int_equal(wfs_region_read(r, buf, sizeof(buf), 0), -ESTALE);
	wfs_source_put(src);
}

static void is_as_it_was(struct wfs_source *src)
{
	/* Twice: what was judged once is remembered. */
	assert_int_equal(wfs_region_check(checkpoint_region(src, "f")), 0);
	assert_int_equal(wfs_region_check(checkpoint_region(src, "f")), 0);
	checkpoint_reads(src, "f", "old bytes");
}

static void a_rewrite_in_place_is_stale(void **state)
{
	struct wfs_source *src = one_file(*state);

	scratch_write(*state, "m/f", "new bytes", 0);
	is_stale(*state, src);
}

static void another_size_is_stale(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);
	char *path wfs_autofree = scratch_path(s, "m/f");

	assert_int_equal(truncate(path, 4), 0);
	is_stale(s, src);
}

/* With another name, a change of ctime alone would be harmless. */
static void another_name_does_not_hide_a_rewrite(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	assert_int_equal(linkat(s->fd, "m/f", s->fd, "copy", 0), 0);
	scratch_write(s, "m/f", "new bytes", 0);
	is_stale(s, src);
}

static void another_name_does_not_hide_another_size(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);
	const struct wfs_source_entry *e = checkpoint_entry(src, "f");
	struct timespec times[2] = { e->st.st_atim, e->st.st_mtim };

	assert_int_equal(linkat(s->fd, "m/f", s->fd, "copy", 0), 0);
	scratch_write(s, "m/f", "more new bytes", 0);
	assert_int_equal(utimensat(s->fd, "m/f", times, 0), 0);
	is_stale(s, src);
}

static void a_rewrite_with_its_time_set_back_is_stale(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);
	const struct wfs_source_entry *e = checkpoint_entry(src, "f");
	struct timespec times[2] = { e->st.st_atim, e->st.st_mtim };

	scratch_write(s, "m/f", "new bytes", 0);
	assert_int_equal(utimensat(s->fd, "m/f", times, 0), 0);
	is_stale(s, src);
}

static void other_permissions_are_stale(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	assert_int_equal(fchmodat(s->fd, "m/f", 0600, 0), 0);
	is_stale(s, src);
}

static void a_file_replaced_by_rename_is_as_it_was(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	scratch_write(s, "next", "new bytes", 0);
	assert_int_equal(renameat(s->fd, "next", s->fd, "m/f"), 0);
	is_as_it_was(src);
	wfs_source_put(src);
}

static void a_removed_file_is_as_it_was(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	assert_int_equal(unlinkat(s->fd, "m/f", 0), 0);
	assert_int_equal(unlinkat(s->fd, "m", AT_REMOVEDIR), 0);
	is_as_it_was(src);
	wfs_source_put(src);
}

static void a_file_renamed_away_is_as_it_was(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	assert_int_equal(renameat(s->fd, "m/f", s->fd, "m/g"), 0);
	is_as_it_was(src);
	wfs_source_put(src);
}

static void a_checkpoint_renamed_away_is_as_it_was(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s), *new_src;

	scratch_write(s, "n/f", "new bytes", 0);
	assert_int_equal(renameat(s->fd, "m", s->fd, "old"), 0);
	assert_int_equal(renameat(s->fd, "n", s->fd, "m"), 0);
	is_as_it_was(src);
	new_src = checkpoint_open(s, "m");
	checkpoint_reads(new_src, "f", "new bytes");
	wfs_source_put(new_src);
	wfs_source_put(src);
}

static void another_name_for_a_file_is_harmless(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	assert_int_equal(linkat(s->fd, "m/f", s->fd, "copy", 0), 0);
	is_as_it_was(src);
	scratch_age(s, "m/f");
	assert_int_equal(unlinkat(s->fd, "copy", 0), 0);
	is_as_it_was(src);
	wfs_source_put(src);
}

static void after_a_harmless_change_a_rewrite_is_still_stale(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);

	assert_int_equal(linkat(s->fd, "m/f", s->fd, "copy", 0), 0);
	is_as_it_was(src);
	scratch_age(s, "m/f");
	assert_int_equal(fchmodat(s->fd, "copy", 0600, 0), 0);
	is_stale(s, src);
}

static void a_shrunken_file_fails_its_reads_as_stale(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);
	struct wfs_region *r = checkpoint_region(src, "f");
	char *path wfs_autofree = scratch_path(s, "m/f");
	struct scratch_capture c;
	char buf[16];

	assert_int_equal(truncate(path, 4), 0);
	c = scratch_capture_stderr(s);
	assert_int_equal(wfs_region_read(r, buf, 9, 0), -ESTALE);
	free(scratch_captured(&c));
	assert_int_equal(atomic_load(&src->errors), 1);
	wfs_source_put(src);
}

static void a_device_that_fails_is_an_io_error(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = one_file(s);
	struct wfs_region *r = checkpoint_region(src, "f");
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct scratch_capture c = scratch_capture_stderr(s);
	char *log wfs_autofree = NULL;
	char buf[16];

	/* A directory in the file's place: reading it fails. */
	assert_true(dup2(dir, wfs_region_descriptor(r)) >= 0);
	assert_int_equal(wfs_region_read(r, buf, 9, 0), -EIO);
	log = scratch_captured(&c);
	assert_non_null(strstr(log, "cannot read 'f' of '"));
	close(dir);
	wfs_source_put(src);
}

struct linker {
	const struct scratch *s;
	atomic_bool stop;
};

static void *link_more(void *arg)
{
	struct linker *l = arg;
	char name[32];

	/* File systems bound the names of a file; ext4 at 65,000. */
	for (int i = 0; !atomic_load(&l->stop) && i < 30000; i++) {
		snprintf(name, sizeof(name), "copy%d", i);
		if (linkat(l->s->fd, "m/f", l->s->fd, name, 0))
			break;
	}
	return NULL;
}

struct checker {
	struct wfs_region *region;
	atomic_int wrong;
};

static void *check_often(void *arg)
{
	struct checker *c = arg;

	for (int i = 0; i < 5000; i++) {
		if (wfs_region_check(c->region))
			atomic_fetch_add(&c->wrong, 1);
	}
	return NULL;
}

static void many_check_while_names_come(void **state)
{
	const struct scratch *s = *state;
	struct linker linker = { .s = s };
	struct checker checker = { 0 };
	struct wfs_source *src = one_file(s);
	pthread_t threads[3], other;

	checker.region = checkpoint_region(src, "f");
	assert_int_equal(pthread_create(&other, NULL, link_more, &linker), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, check_often,
						&checker),
				 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&linker.stop, true);
	pthread_join(other, NULL);
	assert_int_equal(atomic_load(&checker.wrong), 0);
	wfs_source_put(src);
}

#define C(name)                                                                \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		C(a_rewrite_in_place_is_stale),
		C(another_size_is_stale),
		C(another_name_does_not_hide_a_rewrite),
		C(another_name_does_not_hide_another_size),
		C(a_rewrite_with_its_time_set_back_is_stale),
		C(other_permissions_are_stale),
		C(a_file_replaced_by_rename_is_as_it_was),
		C(a_removed_file_is_as_it_was),
		C(a_file_renamed_away_is_as_it_was),
		C(a_checkpoint_renamed_away_is_as_it_was),
		C(another_name_for_a_file_is_harmless),
		C(after_a_harmless_change_a_rewrite_is_still_stale),
		C(a_shrunken_file_fails_its_reads_as_stale),
		C(a_device_that_fails_is_an_io_error),
		C(many_check_while_names_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
