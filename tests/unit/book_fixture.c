/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the book share.
 */
#include "tests/unit/t.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/base/text.h"
#include "core/digest/book_inner.h"
#include "tests/unit/book_fixture.h"
#include "tests/unit/chance.h"

struct wfs_book *book_in(const struct scratch *s, const char *dir)
{
	char *path wfs_autofree = dir ? scratch_path(s, dir) : NULL;
	struct wfs_book_config config = { .dir = path, .threads = 2 };
	struct wfs_book *book;
	struct wfs_err err = { 0 };

	if (wfs_book_open(&config, &book, &err))
		fail_msg("%s", err.text);
	return book;
}

struct wfs_page *book_page(struct wfs_book *book, const struct scratch *s,
			   const char *name)
{
	int fd wfs_autoclose = openat(s->fd, name, O_RDONLY | O_CLOEXEC);
	struct wfs_page *page;

	assert_true(fd >= 0);
	assert_int_equal(wfs_page_open(book, fd, name, &page, NULL), 0);
	return page;
}

void book_sparse(const struct scratch *s, const char *name, uint64_t size)
{
	int fd wfs_autoclose =
		openat(s->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

void book_change(const struct scratch *s, const char *name, uint64_t at)
{
	int fd wfs_autoclose = openat(s->fd, name, O_WRONLY | O_CLOEXEC);

	scratch_age(s, name);
	assert_int_equal(pwrite(fd, "other", 5, (off_t)at), 5);
}

/* Until its times tell of any further change. */
void book_age(const struct scratch *s, const char *name)
{
	static const struct timespec nap = { .tv_nsec = 5000000 };
	struct wfs_file_key key;
	struct stat st;

	assert_int_equal(fstatat(s->fd, name, &st, 0), 0);
	key = wfs_file_key_of(&st);
	while (wfs_file_key_young(&key))
		nanosleep(&nap, NULL);
}

void book_random(const struct scratch *s, const char *name, size_t len)
{
	struct chance chance = chance_new();
	char *bytes wfs_autofree = wfs_malloc(len);

	for (size_t i = 0; i + 8 <= len; i += 8)
		memcpy(bytes + i, &(uint64_t){ chance_next(&chance) }, 8);
	scratch_write(s, name, bytes, len);
}

/* The list is right: computed here in another way. */
void book_check(const struct scratch *s, const char *name,
		const struct wfs_digests *list)
{
	char *path wfs_autofree = scratch_path(s, name);
	char *bytes wfs_autofree = NULL;
	size_t len;

	assert_non_null(list);
	assert_int_equal(wfs_file_slurp(path, 1 << 26, &bytes, &len), 0);
	assert_int_equal(list->size, len);
	assert_int_equal(list->count, wfs_chunk_count(len));
	for (uint64_t i = 0; i < list->count; i++)
		assert_int_equal(wfs_digests_verify(list, i,
						    bytes + i * WFS_CHUNK,
						    wfs_chunk_len(len, i)),
				 0);
}

unsigned book_files(const struct scratch *s, const char *dir)
{
	char *path wfs_autofree = scratch_path(s, dir);
	DIR *d = opendir(path);
	unsigned count = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}
