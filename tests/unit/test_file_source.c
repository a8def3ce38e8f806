/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local directories as sources: the listing and the reads. Links have
 * test_file_links, changes underneath test_file_changes.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/checkpoint.h"

static void everything_is_listed_in_order(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src;

	scratch_write(s, "a/b.txt", "x", 1);
	scratch_write(s, "a-b", "x", 1);
	scratch_write(s, "a.b", "x", 1);
	scratch_write(s, ".hidden/.file", "x", 1);
	scratch_mkdir(s, "empty");
	scratch_write(s, "a/c/d/deep", "x", 1);
	scratch_write(s, "Z", "x", 1);
	src = checkpoint_open(s, "");
	checkpoint_lists(src, ".hidden/ .hidden/.file Z a/ a-b a.b a/b.txt "
			      "a/c/ a/c/d/ a/c/d/deep empty/ ");
	wfs_source_put(src);
}

static void an_empty_directory_lists_nothing(void **state)
{
	struct wfs_source *src = checkpoint_open(*state, "");

	checkpoint_lists(src, "");
	wfs_source_put(src);
}

static void entries_have_the_files_own_attributes(void **state)
{
	const struct scratch *s = *state;
	const struct wfs_source_entry *e;
	struct wfs_source *src;
	struct stat st;

	scratch_write(s, "f", "12345", 5);
	src = checkpoint_open(s, "");
	e = checkpoint_entry(src, "f");
	assert_int_equal(fstatat(s->fd, "f", &st, 0), 0);
	assert_int_equal(e->st.st_ino, st.st_ino);
	assert_int_equal(e->st.st_size, 5);
	assert_int_equal(e->st.st_mtim.tv_nsec, st.st_mtim.tv_nsec);
	assert_int_equal(e->region->size, 5);
	assert_string_equal(e->region->path, "f");
	assert_ptr_equal(e->region->source, src);
	assert_string_equal(src->ops->name, "file");
	assert_string_equal(src->label, s->path);
	wfs_source_put(src);
}

static void reads_give_the_files_bytes(void **state)
{
	const struct scratch *s = *state;
	struct wfs_region *r;
	struct wfs_source *src;
	char buf[16];

	scratch_write(s, "dir/f", "0123456789", 10);
	scratch_write(s, "none", "x", 1);
	assert_int_equal(truncate(s->path, 0), -1); /* a directory */
	src = checkpoint_open(s, "");
	r = checkpoint_region(src, "dir/f");
	assert_int_equal(wfs_region_read(r, buf, 16, 4), 6);
	assert_memory_equal(buf, "456789", 6);
	assert_int_equal(pread(wfs_region_descriptor(r), buf, 16, 0), 10);
	assert_memory_equal(buf, "0123456789", 10);
	assert_int_equal(wfs_region_check(r), 0);
	wfs_source_put(src);
}

static void a_descriptor_cannot_be_written_to(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src;
	int fd;

	scratch_write(s, "f", "x", 1);
	src = checkpoint_open(s, "");
	fd = wfs_region_descriptor(checkpoint_region(src, "f"));
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	wfs_source_put(src);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void a_directory_has_no_region(void **state)
{
	const struct scratch *s = *state;
	struct wfs_source *src;

	scratch_mkdir(s, "d");
	src = checkpoint_open(s, "");
	assert_null(checkpoint_entry(src, "d")->region);
	wfs_source_put(src);
}

static void what_is_no_file_is_left_out_with_a_line(void **state)
{
	const struct scratch *s = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct scratch_capture c;
	struct wfs_source *src;
	char *log wfs_autofree = NULL;
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", s->path);
	assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	/* Opening a FIFO to read would wait for a writer. */
	assert_int_equal(mkfifoat(s->fd, "model.safetensors", 0644), 0);
	scratch_write(s, "f", "x", 1);
	c = scratch_capture_stderr(s);
	src = checkpoint_open(s, "");
	log = scratch_captured(&c);
	checkpoint_lists(src, "f ");
	assert_non_null(strstr(log, "warn 'model.safetensors' of '"));
	assert_non_null(strstr(log, "warn 'socket' of '"));
	assert_non_null(strstr(log, "not a regular file"));
	wfs_source_put(src);
	close(sock);
}

static void a_missing_directory_is_named(void **state)
{
	const struct scratch *s = *state;

	scratch_write(s, "f", "x", 1);
	checkpoint_refused(s, "nowhere", -ENOENT,
			   "nowhere': No such file or directory");
	checkpoint_refused(s, "f", -ENOTDIR, "f': Not a directory");
}

static void a_tree_may_be_only_so_deep(void **state)
{
	const struct scratch *s = *state;
	char path[64] = "d";
	struct wfs_source *src;

	for (int i = 1; i < 16; i++)
		strcat(path, "/d");
	scratch_mkdir(s, path);
	src = checkpoint_open(s, "");
	wfs_source_put(src);
	strcat(path, "/d");
	scratch_mkdir(s, path);
	checkpoint_refused(s, "", -E2BIG, "more than 16 directories deep");
}

static void too_few_descriptors_name_the_limit(void **state)
{
	const struct scratch *s = *state;
	struct rlimit old, few;
	struct wfs_err err = { 0 };
	struct wfs_source *src = NULL;
	struct wfs_file_source_config config = { 0 };
	char name[32];
	int rc;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		scratch_write(s, name, "x", 1);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ 64, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	rc = wfs_file_source_open(s->path, &config, &src, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(rc, -EMFILE);
	assert_null(src);
	assert_non_null(strstr(err.text, "too many open files; raise the "
					 "limit (ulimit -n, LimitNOFILE=)"));
	/* None of those that were opened is left open. */
	src = checkpoint_open(s, "");
	wfs_source_put(src);
	rc = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(rc >= 0 && rc < 64);
	close(rc);
}

static void a_peek_sees_what_opening_lists(void **state)
{
	const struct scratch *s = *state;
	struct wfs_file_source_config config = { 0 };
	struct wfs_file_listing peek = { 0 };
	const struct wfs_source_entry *list;
	struct scratch_capture c;
	struct wfs_source *src;
	struct wfs_err err = { 0 };
	char *log wfs_autofree = NULL;
	size_t count;

	scratch_write(s, "a/b", "12", 2);
	scratch_write(s, "c", "123", 3);
	scratch_link(s, "c", "inside");
	scratch_link(s, "/etc/hostname", "outside");
	assert_int_equal(mkfifoat(s->fd, "fifo", 0644), 0);
	c = scratch_capture_stderr(s);
	assert_int_equal(wfs_file_source_peek(s->path, &config, &peek, &err),
			 0);
	log = scratch_captured(&c);
	assert_string_equal(log, "");
	c = scratch_capture_stderr(s);
	src = checkpoint_open(s, "");
	free(scratch_captured(&c));
	list = wfs_source_list(src, &count);
	assert_int_equal(count, 4);
	assert_int_equal(peek.count, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(peek.entries[i].path, list[i].path);
		assert_null(peek.entries[i].region);
		assert_int_equal(peek.entries[i].st.st_ino, list[i].st.st_ino);
		assert_int_equal(peek.entries[i].st.st_size,
				 list[i].st.st_size);
		assert_int_equal(peek.entries[i].st.st_mode,
				 list[i].st.st_mode);
	}
	wfs_file_listing_clear(&peek);
	wfs_file_listing_clear(&peek);
	wfs_source_put(src);
	assert_int_equal(wfs_file_source_peek("/nowhere", &config, &peek, &err),
			 -ENOENT);
}

struct reader {
	struct wfs_region *region;
	atomic_int wrong;
};

static void *read_all(void *arg)
{
	struct reader *reader = arg;
	unsigned char buf[4096];

	for (unsigned i = 0; i < 500; i++) {
		size_t len = 1 + i * 7 % sizeof(buf);
		uint64_t off = i * 257 % 60000;
		ssize_t n = wfs_region_read(reader->region, buf, len, off);

		if (n != (ssize_t)len || wfs_region_check(reader->region))
			atomic_fetch_add(&reader->wrong, 1);
		for (size_t k = 0; k < len; k++) {
			if (buf[k] != (unsigned char)((off + k) % 251))
				atomic_fetch_add(&reader->wrong, 1);
		}
	}
	return NULL;
}

static void one_region_is_read_by_many_threads(void **state)
{
	const struct scratch *s = *state;
	struct reader reader = { 0 };
	struct wfs_source *src;
	pthread_t threads[4];
	char bytes[65536];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i % 251);
	scratch_write(s, "f", bytes, sizeof(bytes));
	src = checkpoint_open(s, "");
	reader.region = checkpoint_region(src, "f");
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_all,
						&reader),
				 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&reader.wrong), 0);
	wfs_source_put(src);
}

#define C(name)                                                                \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		C(everything_is_listed_in_order),
		C(an_empty_directory_lists_nothing),
		C(entries_have_the_files_own_attributes),
		C(reads_give_the_files_bytes),
		C(a_descriptor_cannot_be_written_to),
		C(a_directory_has_no_region),
		C(what_is_no_file_is_left_out_with_a_line),
		C(a_missing_directory_is_named),
		C(a_tree_may_be_only_so_deep),
		C(too_few_descriptors_name_the_limit),
		C(a_peek_sees_what_opening_lists),
		C(one_region_is_read_by_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
