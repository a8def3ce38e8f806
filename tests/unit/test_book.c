/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book of digests: what is computed, for whom, and when it ends.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "core/base/text.h"
#include "core/digest/book_inner.h"
#include "tests/unit/book_fixture.h"
#include "tests/unit/chance.h"

static void a_list_is_computed_when_it_is_asked_for(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct wfs_page *page;

	book_random(s, "f", 2 * WFS_CHUNK + 100);
	page = book_page(book, s, "f");
	assert_null(wfs_page_list(page, WFS_XXH3_128, false));
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, 0), -ETIMEDOUT);
	assert_null(wfs_page_list(page, WFS_XXH3_128, false));
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	book_check(s, "f", wfs_page_list(page, WFS_XXH3_128, false));
	assert_null(wfs_page_list(page, WFS_SHA256, false));
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	book_check(s, "f", wfs_page_list(page, WFS_SHA256, true));
	wfs_page_close(page);
	wfs_book_close(book);
}

static void an_empty_file_has_a_list_of_none(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *page;

	book_sparse(s, "f", 0);
	page = book_page(book, s, "f");
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	assert_int_equal(wfs_page_list(page, WFS_SHA256, false)->count, 0);
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	wfs_page_close(page);
	wfs_page_close(NULL);
	wfs_book_close(book);
	wfs_book_close(NULL);
}

static void sha256_leaves_the_other_list_behind(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct wfs_page *page;

	book_random(s, "f", 3 * WFS_CHUNK);
	book_age(s, "f");
	page = book_page(book, s, "f");
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	for (uint64_t i = 0; i < 3; i++) {
		uint8_t digest[16];

		assert_true(wfs_page_chunk(page, i, digest));
	}
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	book_check(s, "f", wfs_page_list(page, WFS_XXH3_128, false));
	wfs_page_close(page);
	wfs_book_close(book);
}

static uint64_t bytes_read(void)
{
	char *text wfs_autofree = NULL;
	static const char field[] = "rchar: ";
	const char *at;
	size_t len;

	assert_int_equal(wfs_file_slurp("/proc/self/io", 4096, &text, &len), 0);
	at = strstr(text, field);
	assert_non_null(at);
	return strtoull(at + strlen(field), NULL, 10);
}

static void opening_the_page_of_700_gb_reads_nothing(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *page;
	uint64_t before;
	uint8_t digest[16];

	book_sparse(s, "f", BOOK_MANY);
	before = bytes_read();
	page = book_page(book, s, "f");
	assert_null(wfs_page_list(page, WFS_XXH3_128, false));
	assert_false(wfs_page_chunk(page, 0, digest));
	assert_in_range(bytes_read() - before, 0, 4096);
	wfs_page_close(page);
	wfs_book_close(book);
}

/* If it read on to the end, this would take minutes. */
static void closing_ends_the_reading_of_700_gb(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *first, *second, *third;
	uint8_t digest[16];

	book_sparse(s, "a", BOOK_MANY);
	book_sparse(s, "b", BOOK_MANY);
	book_sparse(s, "c", BOOK_MANY);
	first = book_page(book, s, "a");
	second = book_page(book, s, "b");
	third = book_page(book, s, "c");
	wfs_page_list(first, WFS_SHA256, true);
	wfs_page_list(second, WFS_SHA256, true);
	while (!wfs_page_chunk(first, 0, digest) ||
	       !wfs_page_chunk(second, 0, digest))
		sched_yield();
	wfs_page_list(third, WFS_SHA256, true);
	assert_int_equal(wfs_page_wait(third, WFS_SHA256, 1), -ETIMEDOUT);
	wfs_page_close(third);	/* while it is queued */
	wfs_page_close(second); /* while it is read */
	book_random(s, "d", WFS_CHUNK + 1);
	second = book_page(book, s, "d");
	assert_int_equal(wfs_page_wait(second, WFS_XXH3_128, BOOK_LONG_NS), 0);
	wfs_page_close(second);
	wfs_page_close(first);
	wfs_book_close(book);
	assert_int_equal(book_files(s, "kept"), 1);
}

static void the_same_file_gives_the_same_page(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct wfs_page *one, *two, *other;

	book_random(s, "f", WFS_CHUNK);
	assert_int_equal(linkat(s->fd, "f", s->fd, "link", 0), 0);
	one = book_page(book, s, "f");
	two = book_page(book, s, "link");
	assert_ptr_equal(one, two);
	wfs_page_close(one);
	book_change(s, "f", 7);
	other = book_page(book, s, "f");
	assert_ptr_not_equal(other, two);
	wfs_page_close(other);
	wfs_page_close(two);
	wfs_book_close(book);
}

static void what_is_no_regular_file_has_no_page(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct wfs_page *page = NULL;
	struct wfs_err err = { 0 };

	assert_int_equal(wfs_page_open(book, s->fd, "dir", &page, &err),
			 -EINVAL);
	assert_string_equal(err.text, "'dir' is no regular file");
	assert_int_equal(wfs_page_open(book, -1, "none", &page, &err), -EBADF);
	assert_null(page);
	wfs_book_close(book);
}

static void noted_chunks_are_not_read_again(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	const struct wfs_digests *list;
	struct wfs_page *page;
	uint8_t noted[16], other[16], digest[16];

	memset(noted, 0xab, sizeof(noted));
	memset(other, 0xcd, sizeof(other));
	book_random(s, "f", 3 * WFS_CHUNK);
	book_age(s, "f");
	page = book_page(book, s, "f");
	wfs_page_note(page, 1, noted);
	wfs_page_note(page, 1, other); /* the first one stays */
	wfs_page_note(page, 3, other); /* beyond the end */
	assert_false(wfs_page_chunk(page, 0, digest));
	assert_false(wfs_page_chunk(page, 3, digest));
	assert_true(wfs_page_chunk(page, 1, digest));
	assert_memory_equal(digest, noted, 16);
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	list = wfs_page_list(page, WFS_XXH3_128, false);
	assert_memory_equal(list->bytes + 16, noted, 16);
	assert_true(wfs_page_chunk(page, 2, digest));
	assert_memory_equal(digest, list->bytes + 32, 16);
	wfs_page_note(page, 2, other); /* too late */
	wfs_page_close(page);
	wfs_book_close(book);
}

static void notes_of_all_chunks_make_the_list(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct wfs_page *page;
	uint8_t digest[16];

	book_random(s, "f", 2 * WFS_CHUNK);
	book_age(s, "f");
	page = book_page(book, s, "f");
	for (uint8_t i = 0; i < 2; i++) {
		memset(digest, i, sizeof(digest));
		wfs_page_note(page, i, digest);
	}
	while (!wfs_page_list(page, WFS_XXH3_128, false))
		sched_yield();
	assert_memory_equal(wfs_page_list(page, WFS_XXH3_128, false)->bytes +
				    16,
			    digest, 16);
	wfs_page_close(page);
	wfs_book_close(book);
}

/* What was noted may have been read before a change that shows nowhere. */
static void notes_of_a_file_just_written_do_not_enter_the_list(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct wfs_page *page;
	uint8_t digest[16] = { 1 };

	do {
		book_random(s, "f", WFS_CHUNK);
		page = book_page(book, s, "f");
		if (page->young)
			break;
		wfs_page_close(page);
	} while (true);
	wfs_page_note(page, 0, digest);
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	book_check(s, "f", wfs_page_list(page, WFS_XXH3_128, false));
	wfs_page_close(page);
	wfs_book_close(book);
}

struct told {
	pthread_mutex_t lock;
	struct wfs_page *pages[8];
	unsigned count;
};

static void tell(void *ctx, struct wfs_page *page)
{
	struct told *told = ctx;

	pthread_mutex_lock(&told->lock);
	told->pages[told->count++] = page;
	pthread_mutex_unlock(&told->lock);
}

static void whoever_asked_is_told_of_each_list(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, NULL);
	struct told told = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct wfs_page *page;

	book_random(s, "f", WFS_CHUNK);
	wfs_book_on_known(book, tell, &told);
	page = book_page(book, s, "f");
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	assert_int_equal(wfs_page_wait(page, WFS_SHA256, BOOK_LONG_NS), 0);
	wfs_book_on_known(book, NULL, NULL); /* no call runs any more */
	assert_int_equal(told.count, 2);
	assert_ptr_equal(told.pages[0], page);
	assert_ptr_equal(told.pages[1], page);
	book_change(s, "f", 0);
	wfs_page_close(page);
	page = book_page(book, s, "f");
	assert_int_equal(wfs_page_wait(page, WFS_XXH3_128, BOOK_LONG_NS), 0);
	assert_int_equal(told.count, 2);
	wfs_page_close(page);
	wfs_book_close(book);
}

#define CROWD  4
#define ROUNDS 60

struct crowd {
	struct scratch *s;
	struct wfs_book *book;
	struct chance chance;
};

static void *mingle(void *arg)
{
	struct crowd *me = arg;
	uint8_t digest[16];

	for (int i = 0; i < ROUNDS; i++) {
		enum wfs_digest_algorithm algorithm =
			1 + (unsigned)chance_below(&me->chance, 2);
		char name[8];
		int fd wfs_autoclose = -1;
		struct wfs_page *page;

		snprintf(name, sizeof(name), "f%u",
			 (unsigned)chance_below(&me->chance, 3));
		fd = openat(me->s->fd, name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || wfs_page_open(me->book, fd, name, &page, NULL))
			return arg;
		wfs_page_list(page, algorithm, true);
		if (wfs_page_chunk(page, 0, digest))
			wfs_page_note(page, 0, digest);
		if (chance_below(&me->chance, 2) &&
		    wfs_page_wait(page, algorithm, BOOK_LONG_NS))
			return arg;
		wfs_page_close(page);
	}
	return NULL;
}

static void a_crowd_may_ask_at_once(void **state)
{
	struct scratch *s = *state;
	struct wfs_book *book = book_in(s, "kept");
	struct chance chance = chance_new();
	struct crowd crowd[CROWD];
	pthread_t threads[CROWD];

	book_random(s, "f0", 1000);
	book_random(s, "f1", WFS_CHUNK + 1);
	book_random(s, "f2", 3 * WFS_CHUNK);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] =
			(struct crowd){ s, book, { chance_next(&chance) | 1 } };
		assert_int_equal(pthread_create(&threads[i], NULL, mingle,
						&crowd[i]),
				 0);
	}
	for (int i = 0; i < CROWD; i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	wfs_book_close(book);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(a_list_is_computed_when_it_is_asked_for),
		IN_SCRATCH(an_empty_file_has_a_list_of_none),
		IN_SCRATCH(sha256_leaves_the_other_list_behind),
		IN_SCRATCH(opening_the_page_of_700_gb_reads_nothing),
		IN_SCRATCH(closing_ends_the_reading_of_700_gb),
		IN_SCRATCH(the_same_file_gives_the_same_page),
		IN_SCRATCH(what_is_no_regular_file_has_no_page),
		IN_SCRATCH(noted_chunks_are_not_read_again),
		IN_SCRATCH(notes_of_all_chunks_make_the_list),
		IN_SCRATCH(notes_of_a_file_just_written_do_not_enter_the_list),
		IN_SCRATCH(whoever_asked_is_told_of_each_list),
		IN_SCRATCH(a_crowd_may_ask_at_once),
	};

	return cmocka_run_group_tests_name("book", tests, NULL, NULL);
}
