/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book of digests: what is kept, and what is not believed after a change.
 */
#include "tests/unit/t.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "tests/unit/book_fixture.h"

static void a_list_is_kept_for_the_next_book(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "deep/er/kept");
	struct wfs_page *page;
	struct stat st;

	book_random(s, "f", WFS_CHUNK + 1);
	page = book_page(book, s, "f");
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	wfs_page_close(page);
	wfs_book_close(book);
	assert_int_equal(fstatat(s->fd, "deep/er/kept", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(book_files(s, "deep/er/kept"), 2);

	book = book_in(s, "deep/er/kept");
	page = book_page(book, s, "f");
	book_check(s, "f", wfs_page_list(page, WFS_SHA256, false));
	book_check(s, "f", wfs_page_list(page, WFS_XXH3_128, false));
	wfs_page_close(page);
	wfs_book_close(book);
}

static void a_kept_list_is_not_believed_after_a_change(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *page;

	book_random(s, "f", WFS_CHUNK + 1);
	page = book_page(book, s, "f");
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	wfs_page_close(page);
	book_change(s, "f", 100);
	page = book_page(book, s, "f");
	assert_null(wfs_page_list(page, WFS_SHA256, false));
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	book_check(s, "f", wfs_page_list(page, WFS_SHA256, false));
	wfs_page_close(page);
	wfs_book_close(book);
}

static void older_lists_of_a_file_are_dropped(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");

	book_random(s, "other", 10);
	book_random(s, "f", WFS_CHUNK + 1);
	for (int i = 0; i < 3; i++) {
		struct wfs_page *page = book_page(book, s, "f");
		struct wfs_page *other = book_page(book, s, "other");

		assert_int_equal(
			wfs_page_wait(other, WFS_XXH3_128, BOOK_LONG_NS), 0);
		assert_int_equal(
			wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
		assert_int_equal(book_files(s, "kept"), 2);
		wfs_page_close(other);
		wfs_page_close(page);
		book_change(s, "f", 100);
	}
	wfs_book_close(book);
}

/* Changes one byte of the only file in the directory. */
static void damage(const struct scratch *s, const char *dir, off_t at)
{
	char *path wfs_autofree = scratch_path(s, dir);
	DIR *d = opendir(path);
	struct dirent *e;
	char byte;
	int fd;

	do
		e = readdir(d);
	while (e->d_name[0] == '.');
	fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
	closedir(d);
}

static void a_damaged_list_is_computed_again(void **state)
{
	/* The key, the head, a digest, the check. */
	static const off_t places[] = { 3, 50, 85, 96 };
	struct scratch *s = *state;

	book_random(s, "f", 1000);
	for (unsigned i = 0; i < 4; i++) {
		struct scratch_capture c = scratch_capture_stderr(s);
		struct wfs_book *book = book_in(s, "kept");
		struct wfs_page *page = book_page(book, s, "f");
		char *said;

		assert_null(i ? wfs_page_list(page, WFS_XXH3_128, false) :
				NULL);
		assert_int_equal(
			wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
		book_check(s, "f", wfs_page_list(page, WFS_XXH3_128, false));
		wfs_page_close(page);
		wfs_book_close(book);
		said = scratch_captured(&c);
		assert_int_equal(i > 0, strstr(said, "are damaged") != NULL);
		free(said);
		damage(s, "kept", places[i]);
	}
}

/* Reads it as anybody could who wants its digests. */
static struct wfs_digests *computed(const struct scratch *s, const char *name)
{
	char *path wfs_autofree = scratch_path(s, name);
	char *bytes wfs_autofree = NULL;
	struct wfs_digests *list;
	size_t len;

	assert_int_equal(wfs_file_slurp(path, 1 << 26, &bytes, &len), 0);
	list = wfs_digests_new(WFS_SHA256, len);
	for (uint64_t i = 0; i < list->count; i++)
		wfs_digest_bytes(WFS_SHA256, bytes + i * WFS_CHUNK,
				 wfs_chunk_len(len, i),
				 wfs_digests_at(list, i));
	return list;
}

static void what_somebody_else_computed_is_kept_unless_it_changed(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_digests *list;
	struct wfs_page *page;
	struct stat before;
	int fd;

	book_random(s, "f", WFS_CHUNK + 1);
	book_age(s, "f");
	fd = openat(s->fd, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(wfs_book_look(fd, &before), 0);
	list = computed(s, "f");
	wfs_book_keep(book, fd, &before, list);
	page = book_page(book, s, "f");
	book_check(s, "f", wfs_page_list(page, WFS_SHA256, false));
	wfs_page_close(page);
	book_change(s, "f", 3);
	wfs_book_keep(book, fd, &before, list);
	page = book_page(book, s, "f");
	assert_null(wfs_page_list(page, WFS_SHA256, false));
	wfs_page_close(page);
	assert_int_equal(wfs_book_look(-1, &before), -EBADF);
	close(fd);
	free(list);
	wfs_book_close(book);
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
	struct scratch *s = *state;
	char *path wfs_autofree = scratch_path(s, "open");
	char *link wfs_autofree = scratch_path(s, "link");
	struct wfs_book_config config = { .dir = path };
	struct wfs_book *book = NULL;
	struct wfs_err err = { 0 };

	scratch_mkdir(s, "open");
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(wfs_book_open(&config, &book, &err), -EPERM);
	assert_non_null(strstr(err.text, "writable by nobody else"));
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(wfs_book_open(&config, &book, &err), -EPERM);
	assert_int_equal(chmod(path, 0700), 0);
	if (!geteuid()) {
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(wfs_book_open(&config, &book, &err), -EPERM);
	}
	scratch_link(s, "open", "link");
	config.dir = link;
	assert_true(wfs_book_open(&config, &book, &err) < 0);
	scratch_write(s, "file", "x", 1);
	assert_null(book);
}

static void a_file_that_changed_before_it_is_read_is_stale(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *page;

	book_random(s, "f", WFS_CHUNK);
	page = book_page(book, s, "f");
	book_change(s, "f", 5);
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS),
			 -ESTALE);
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS),
			 -ESTALE);
	assert_null(wfs_page_list(page, WFS_XXH3_128, true));
	wfs_page_close(page);
	wfs_book_close(book);
	assert_int_equal(book_files(s, "kept"), 0);
}

static void a_file_that_changes_while_it_is_read_is_stale(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	int rc = 0;

	/* Too late, if it was read to its end already: then once more. */
	while (!rc) {
		struct wfs_page *page;
		uint8_t digest[16];

		book_sparse(s, "f", 512ull << 20);
		book_age(s, "f");
		page = book_page(book, s, "f");
		wfs_page_list(page, WFS_SHA256, true);
		while (!wfs_page_chunk(page, 0, digest))
			sched_yield();
		book_change(s, "f", 5);
		rc = wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS);
		wfs_page_close(page);
		assert_int_equal(unlinkat(s->fd, "f", 0), 0);
	}
	assert_int_equal(rc, -ESTALE);
	wfs_book_close(book);
}

static void a_file_that_shrinks_while_it_is_read_is_stale(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct wfs_page *page;
	uint8_t digest[16];

	book_sparse(s, "f", BOOK_MANY);
	page = book_page(book, s, "f");
	wfs_page_list(page, WFS_SHA256, true);
	while (!wfs_page_chunk(page, 0, digest))
		sched_yield();
	book_sparse(s, "f", WFS_CHUNK);
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS),
			 -ESTALE);
	wfs_page_close(page);
	wfs_book_close(book);
}

/* Bytes that were busy once; `gone`: they are others by now. */
struct memory {
	char bytes[WFS_CHUNK + 100];
	atomic_uint busy, released;
	bool gone;
};

static int read_memory(void *ctx, void *buf, size_t len, uint64_t off)
{
	struct memory *m = ctx;

	if (!atomic_fetch_add(&m->busy, 1))
		return -EBUSY;
	memcpy(buf, m->bytes + off, len);
	return m->gone && off ? -ESTALE : 0;
}

static void release_memory(void *ctx)
{
	atomic_fetch_add(&((struct memory *)ctx)->released, 1);
}

static void bytes_without_a_file_are_read_once_and_not_kept(void **state)
{
	struct scratch *s = *state;
	struct memory *m = wfs_calloc(1, sizeof(*m));
	struct wfs_page_bytes bytes = { m, sizeof(m->bytes), read_memory,
					release_memory };
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *page = wfs_page_open_bytes(book, "m", &bytes);
	uint8_t digest[16];

	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	assert_true(wfs_page_chunk(page, 1, digest));
	wfs_page_close(page);
	m->gone = true;
	page = wfs_page_open_bytes(book, "m", &bytes);
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS),
			 -ESTALE);
	wfs_page_close(page);
	wfs_book_close(book);
	assert_int_equal(atomic_load(&m->released), 2);
	assert_int_equal(book_files(s, "kept"), 0);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(a_list_is_kept_for_the_next_book),
		IN_SCRATCH(a_kept_list_is_not_believed_after_a_change),
		IN_SCRATCH(older_lists_of_a_file_are_dropped),
		IN_SCRATCH(a_damaged_list_is_computed_again),
		IN_SCRATCH(
			what_somebody_else_computed_is_kept_unless_it_changed),
		IN_SCRATCH(a_directory_that_others_may_write_is_refused),
		IN_SCRATCH(a_file_that_changed_before_it_is_read_is_stale),
		IN_SCRATCH(a_file_that_changes_while_it_is_read_is_stale),
		IN_SCRATCH(a_file_that_shrinks_while_it_is_read_is_stale),
		IN_SCRATCH(bytes_without_a_file_are_read_once_and_not_kept),
	};

	return cmocka_run_group_tests_name("book_kept", tests, NULL, NULL);
}
