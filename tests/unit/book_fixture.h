/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Books of digests, and files to put in them, in a scratch directory.  All of
 * it fails the test that calls it.
 */
#ifndef WFS_TESTS_UNIT_BOOK_FIXTURE_H
#define WFS_TESTS_UNIT_BOOK_FIXTURE_H

#include "core/digest/book.h"
#include "tests/unit/scratch.h"

#define BOOK_LONG_NS 120000000000ull
#define BOOK_MANY    (700ull << 30) /* bytes: too many to read in a test */

#define IN_SCRATCH(name)                                                       \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

/* Of two threads; `dir` is NULL or relative. */
struct wfs_book *book_in(const struct scratch *s, const char *dir);
struct wfs_page *book_page(struct wfs_book *book, const struct scratch *s,
			   const char *name);

/* A file of `size` bytes that are nowhere. */
void book_sparse(const struct scratch *s, const char *name, uint64_t size);
void book_random(const struct scratch *s, const char *name, size_t len);
/* Writes a few bytes at `at`, with later times. */
void book_change(const struct scratch *s, const char *name, uint64_t at);
/* Returns when its times will tell of any further change. */
void book_age(const struct scratch *s, const char *name);

/* Is the list what the file's bytes say? */
void book_check(const struct scratch *s, const char *name,
		const struct wfs_digests *list);
/* How many files the directory has. */
unsigned book_files(const struct scratch *s, const char *dir);

#endif
