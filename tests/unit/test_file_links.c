/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links in a checkpoint's directory: which are followed, and that nobody gets
 * to see through one what lies elsewhere.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "tests/unit/checkpoint.h"
#include "transport/file/link.h"

#define SNAPSHOT "models--org--name/snapshots/0123abcd"
#define BLOBS	 "models--org--name/blobs"

/* Opens with a config; 0 or the code. */
static int open_with(const struct scratch *s, const char *dir,
		     struct wfs_file_source_config config,
		     struct wfs_source **ret_src)
{
	char *path wfs_autofree = scratch_path(s, dir);

	return wfs_file_source_open(path, &config, ret_src, NULL);
}

/* Opens; the log goes to *ret_log. */
static struct wfs_source *open_logged(const struct scratch *s, const char *dir,
				      char **ret_log)
{
	struct scratch_capture c = scratch_capture_stderr(s);
	struct wfs_source *src = checkpoint_open(s, dir);

	*ret_log = scratch_captured(&c);
	return src;
}

static void a_link_that_stays_inside_is_followed(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src;

	scratch_write(s, "m/sub/real.safetensors", "weights", 0);
	scratch_link(s, "sub/real.safetensors", "m/model.safetensors");
	scratch_link(s, "../sub/../model.safetensors", "m/other/x.safetensors");
	scratch_link(s, "sub", "m/dir");
	src = checkpoint_open(s, "m");
	checkpoint_lists(src, "dir/ dir/real.safetensors model.safetensors "
			      "other/ other/x.safetensors sub/ "
			      "sub/real.safetensors ");
	checkpoint_reads(src, "model.safetensors", "weights");
	checkpoint_reads(src, "other/x.safetensors", "weights");
	checkpoint_reads(src, "dir/real.safetensors", "weights");
	assert_true(S_ISREG(
		checkpoint_entry(src, "model.safetensors")->st.st_mode));
	wfs_source_put(src);
}

static void weights_behind_a_link_that_leaves_are_an_error(void **state)
{
	const struct scratch *s = *state;
	char *outside wfs_autofree = scratch_path(s, "secret");

	scratch_write(s, "secret", "secret", 0);
	scratch_link(s, "../secret", "up/model.safetensors");
	scratch_link(s, outside, "absolute/model.safetensors");
	scratch_link(s, "../secret", "index/model.safetensors.index.json");
	scratch_link(s, "/", "dir/x.safetensors");
	checkpoint_refused(s, "up", -ELOOP, "'model.safetensors' of '");
	checkpoint_refused(s, "up", -ELOOP, "-o follow_links");
	checkpoint_refused(s, "absolute", -ELOOP, "leaves the checkpoint");
	checkpoint_refused(s, "index", -ELOOP, "index.json");
	checkpoint_refused(s, "dir", -ELOOP, "x.safetensors");
}

static void anything_else_behind_one_is_left_out(void **state)
{
	const struct scratch *s = *state;
	char *log wfs_autofree = NULL;
	struct wfs_source *src;

	scratch_write(s, "secret", "secret", 0);
	scratch_write(s, "m/config.json", "{}", 0);
	scratch_link(s, "../secret", "m/tokenizer.json");
	scratch_link(s, "/proc/self/environ", "m/environ");
	scratch_link(s, "/proc/self/root", "m/root");
	scratch_link(s, "..", "m/parent");
	src = open_logged(s, "m", &log);
	checkpoint_lists(src, "config.json ");
	assert_non_null(strstr(log, "warn 'tokenizer.json' of '"));
	assert_non_null(strstr(log, "warn 'parent' of '"));
	assert_non_null(strstr(log, "-o follow_links"));
	wfs_source_put(src);
}

static void a_link_that_leads_nowhere_is_told_apart(void **state)
{
	const struct scratch *s = *state;
	char *log wfs_autofree = NULL;
	struct wfs_source *src;

	scratch_link(s, "gone", "w/model.safetensors");
	checkpoint_refused(s, "w", -ENOENT, "leads nowhere");
	scratch_link(s, "gone", "m/notes");
	src = open_logged(s, "m", &log);
	checkpoint_lists(src, "");
	assert_non_null(strstr(log, "leads nowhere"));
	wfs_source_put(src);
}

static void links_that_chase_each_other_end(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src = NULL;

	scratch_link(s, "b.safetensors", "ring/a.safetensors");
	scratch_link(s, "a.safetensors", "ring/b.safetensors");
	checkpoint_refused(s, "ring", -ELOOP, "symbolic links");
	scratch_link(s, ".", "self/again");
	checkpoint_refused(s, "self", -ELOOP, "a directory that it lies in");
	scratch_mkdir(s, "deep/x/y");
	scratch_link(s, "../../x", "deep/x/y/up");
	checkpoint_refused(s, "deep", -ELOOP, "'x/y/up' of '");
	assert_int_equal(open_with(s, "deep",
				   (struct wfs_file_source_config){
					   .follow_links = true },
				   &src),
			 -ELOOP);
}

static void follow_links_follows_them_all(void **state)
{
	const struct scratch *s = *state;
	struct wfs_file_source_config follow = { .follow_links = true };
	struct wfs_source *src = NULL;

	scratch_write(s, "elsewhere/weights", "weights", 0);
	scratch_link(s, "../elsewhere/weights", "m/model.safetensors");
	scratch_link(s, "../elsewhere", "m/dir");
	scratch_link(s, "m", "alias");
	assert_int_equal(open_with(s, "alias", follow, &src), 0);
	checkpoint_lists(src, "dir/ dir/weights model.safetensors ");
	checkpoint_reads(src, "model.safetensors", "weights");
	checkpoint_reads(src, "dir/weights", "weights");
	wfs_source_put(src);
}

static void a_followed_link_does_not_hang_on_a_fifo(void **state)
{
	const struct scratch *s = *state;
	struct wfs_file_source_config follow = { .follow_links = true };
	struct scratch_capture c;
	struct wfs_source *src = NULL;

	assert_int_equal(mkfifoat(s->fd, "fifo", 0644), 0);
	scratch_link(s, "../fifo", "m/model.safetensors");
	scratch_link(s, "/dev/zero", "m/zero.safetensors");
	c = scratch_capture_stderr(s);
	assert_int_equal(open_with(s, "m", follow, &src), 0);
	free(scratch_captured(&c));
	checkpoint_lists(src, "");
	wfs_source_put(src);
}

static void a_snapshots_links_to_its_blobs_are_followed(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src;

	scratch_write(s, BLOBS "/b1", "weights", 0);
	scratch_write(s, BLOBS "/b2", "{}", 0);
	scratch_link(s, "../../blobs/b1", SNAPSHOT "/model.safetensors");
	scratch_link(s, "../../../blobs/b2", SNAPSHOT "/sub/config.json");
	scratch_link(s, ".././..//blobs/./b2", SNAPSHOT "/odd.json");
	src = checkpoint_open(s, SNAPSHOT);
	checkpoint_lists(src, "model.safetensors odd.json sub/ "
			      "sub/config.json ");
	checkpoint_reads(src, "model.safetensors", "weights");
	checkpoint_reads(src, "sub/config.json", "{}");
	checkpoint_reads(src, "odd.json", "{}");
	wfs_source_put(src);
}

static void other_links_of_a_snapshot_are_not(void **state)
{
	static const char *const texts[] = {
		"../../blobs/dir/x", /* not directly in blobs */
		"../../blobs/dir",   /* no file */
		"../../blobs/link",  /* a blob that is a link */
		"../../blobs/../secret",
		"../../blobs/..",
		"../../blobs/",
		"../../blobs",
		"../../../models--org--name/blobs/b1",
		"../../blobs/b1/",
		"../../blobs/b1/.",
		"../blobs/b1",
		"../../refs/main",
		"../../../secret",
		"/etc/passwd",
		"../../snapshots/../blobs/b1",
		"../../../../blobs/b1",
	};
	const struct scratch *s = *state;

	scratch_write(s, "secret", "secret", 0);
	scratch_write(s, BLOBS "/b1", "weights", 0);
	scratch_write(s, BLOBS "/dir/x", "x", 0);
	scratch_write(s, "models--org--name/refs/main", "0123abcd", 0);
	scratch_link(s, "../../secret", BLOBS "/link");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *path wfs_autofree = scratch_path(s, SNAPSHOT);
		struct wfs_file_source_config config = { 0 };
		struct wfs_source *src = NULL;
		struct wfs_err err = { 0 };

		scratch_link(s, texts[i], SNAPSHOT "/m.safetensors");
		if (!wfs_file_source_open(path, &config, &src, &err))
			fail_msg("'%s' was followed", texts[i]);
		assert_true(err.code == -ELOOP || err.code == -ENOENT);
		assert_int_equal(unlinkat(s->fd, SNAPSHOT "/m.safetensors", 0),
				 0);
	}
}

static void a_blob_that_is_missing_is_told_apart(void **state)
{
	const struct scratch *s = *state;

	scratch_mkdir(s, BLOBS);
	scratch_link(s, "../../blobs/b1", SNAPSHOT "/model.safetensors");
	checkpoint_refused(s, SNAPSHOT, -ENOENT, "is the checkpoint complete?");
}

static void blobs_elsewhere_do_not_count(void **state)
{
	const struct scratch *s = *state;

	/* No hub by its names. */
	scratch_write(s, "x/blobs/b1", "weights", 0);
	scratch_link(s, "../../blobs/b1", "x/snapshots/r/m.safetensors");
	checkpoint_refused(s, "x/snapshots/r", -ELOOP, "leaves");
	scratch_write(s, "models--y/blobs/b1", "weights", 0);
	scratch_link(s, "../../blobs/b1", "models--y/other/r/m.safetensors");
	checkpoint_refused(s, "models--y/other/r", -ELOOP, "leaves");
	/* Its blobs are a link to somebody's. */
	scratch_link(s, "../x/blobs", "models--z/blobs");
	scratch_link(s, "../../blobs/b1",
		     "models--z/snapshots/r/m.safetensors");
	checkpoint_refused(s, "models--z/snapshots/r", -ELOOP, "leaves");
}

static void the_operators_own_path_may_have_links(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src;

	scratch_write(s, BLOBS "/b1", "weights", 0);
	scratch_link(s, "../../blobs/b1", SNAPSHOT "/model.safetensors");
	scratch_link(s, SNAPSHOT, "llama");
	src = checkpoint_open(s, "llama");
	checkpoint_reads(src, "model.safetensors", "weights");
	wfs_source_put(src);
}

static void beneath_a_models_directory_it_may_not(void **state)
{
	const struct scratch *s = *state;
	char *models wfs_autofree = scratch_path(s, "models");
	char *slash wfs_autofree = scratch_path(s, "models/");
	struct wfs_file_source_config config = { .beneath = models };
	struct wfs_source *src = NULL;

	scratch_write(s, "secret/f", "secret", 0);
	scratch_write(s, "models/a/sub/f", "f", 0);
	scratch_write(s, "models2/a/f", "f", 0);
	scratch_link(s, "../secret", "models/link");
	scratch_link(s, "../..", "models/a/up");
	assert_int_equal(open_with(s, "models/a/sub", config, &src), 0);
	wfs_source_put(src);
	assert_int_equal(open_with(s, "models/link", config, &src), -ENOTDIR);
	assert_int_equal(open_with(s, "models/a/up/secret", config, &src),
			 -ENOTDIR);
	assert_int_equal(open_with(s, "models/../secret", config, &src),
			 -EINVAL);
	assert_int_equal(open_with(s, "models2/a", config, &src), -EINVAL);
	assert_int_equal(open_with(s, "secret", config, &src), -EINVAL);
	config.beneath = slash;
	assert_int_equal(open_with(s, "models/a/sub", config, &src), 0);
	wfs_source_put(src);
	config.follow_links = true;
	assert_int_equal(open_with(s, "models/link", config, &src), 0);
	checkpoint_reads(src, "f", "secret");
	wfs_source_put(src);
}

#define SWAPS 5000

struct swapper {
	const struct scratch *s;
	atomic_int swaps;
};

/* A file, a link to a secret, a FIFO, a file, … as fast as it goes. */
static void *swap_often(void *arg)
{
	struct swapper *w = arg;
	int fd = w->s->fd;

	while (atomic_fetch_add(&w->swaps, 1) < SWAPS) {
		if (symlinkat("../secret", fd, "next") == 0)
			renameat(fd, "next", fd, "m/f");
		if (linkat(fd, "good", fd, "next", 0) == 0)
			renameat(fd, "next", fd, "m/f");
		if (symlinkat("../secrets", fd, "next") == 0)
			renameat(fd, "next", fd, "m/f");
		if (linkat(fd, "good", fd, "next", 0) == 0)
			renameat(fd, "next", fd, "m/f");
		if (mkfifoat(fd, "next", 0644) == 0)
			renameat(fd, "next", fd, "m/f");
		unlinkat(fd, "m/f", 0);
		if (mkdirat(fd, "m/f", 0755) == 0)
			renameat(fd, "m/f", fd, "next");
		if (symlinkat("../secrets", fd, "m/f") == 0)
			unlinkat(fd, "m/f", 0);
		unlinkat(fd, "next", AT_REMOVEDIR);
	}
	return NULL;
}

static void swapping_things_underneath_gains_nothing(void **state)
{
	const struct scratch *s = *state;
	struct swapper w = { .s = s };
	pthread_t thread;

	scratch_write(s, "secret", "secret", 0);
	scratch_write(s, "secrets/f", "secret", 0);
	scratch_write(s, "good", "good", 0);
	scratch_mkdir(s, "m");
	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_ERROR);
	assert_int_equal(pthread_create(&thread, NULL, swap_often, &w), 0);
	while (atomic_load(&w.swaps) < SWAPS) {
		struct wfs_file_source_config config = { 0 };
		const struct wfs_source_entry *list;
		struct wfs_source *src = NULL;
		size_t count;

		if (open_with(s, "m", config, &src))
			continue;
		list = wfs_source_list(src, &count);
		if (count && list->region)
			checkpoint_reads(src, "f", "good");
		assert_true(count <= 1);
		wfs_source_put(src);
	}
	pthread_join(thread, NULL);
	wfs_log_setup(WFS_LOG_STDERR, WFS_LOG_INFO);
}

#define C(name)                                                                \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		C(a_link_that_stays_inside_is_followed),
		C(weights_behind_a_link_that_leaves_are_an_error),
		C(anything_else_behind_one_is_left_out),
		C(a_link_that_leads_nowhere_is_told_apart),
		C(links_that_chase_each_other_end),
		C(follow_links_follows_them_all),
		C(a_followed_link_does_not_hang_on_a_fifo),
		C(a_snapshots_links_to_its_blobs_are_followed),
		C(other_links_of_a_snapshot_are_not),
		C(a_blob_that_is_missing_is_told_apart),
		C(blobs_elsewhere_do_not_count),
		C(the_operators_own_path_may_have_links),
		C(beneath_a_models_directory_it_may_not),
		cmocka_unit_test_setup_teardown(
			swapping_things_underneath_gains_nothing,
			scratch_setup_in_memory, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
