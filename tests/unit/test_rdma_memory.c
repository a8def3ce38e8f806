/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node registers: files of the arena while they are filled, and pieces
 * of a slab for what cannot land there.  No device is needed for that.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/mem.h"
#include "core/digest/digests.h"
#include "tests/unit/chance.h"
#include "transport/rdma/grounds.h"
#include "transport/rdma/slab.h"

#define MIB    (1ull << 20)
#define PLACES 64

/* Memory that is registered; its key is its place, and 1 more. */
struct book {
	struct wfs_registrar registrar;
	struct {
		uint8_t *start;
		uint64_t len;
	} places[PLACES];
	unsigned live, ever;
	int refuse;
};

static void *book_add(void *ctx, void *start, uint64_t len, uint32_t *ret_key)
{
	struct book *book = ctx;

	if (book->refuse) {
		errno = book->refuse;
		return NULL;
	}
	assert_true(len <= book->registrar.max);
	for (uint32_t i = 0; i < PLACES; i++) {
		if (book->places[i].len)
			continue;
		book->places[i].start = start;
		book->places[i].len = len;
		book->live++;
		book->ever++;
		*ret_key = i + 1;
		return &book->places[i];
	}
	fail_msg("more than %d are registered", PLACES);
	return NULL;
}

static void book_remove(void *ctx, void *registered)
{
	struct book *book = ctx;

	for (unsigned i = 0; i < PLACES; i++)
		if (registered == &book->places[i] && book->places[i].len) {
			book->places[i].len = 0;
			book->live--;
			return;
		}
	fail_msg("what is not registered is removed");
}

static void book_open(struct book *book, uint64_t max)
{
	*book = (struct book){ .registrar = { .add = book_add,
					      .remove = book_remove,
					      .ctx = book,
					      .max = max } };
}

static bool has(const struct book *book, uint32_t key, const uint8_t *at,
		uint64_t len)
{
	uint64_t off = (uint64_t)(at - book->places[key - 1].start);

	return at >= book->places[key - 1].start &&
	       off + len <= book->places[key - 1].len;
}

/* Address space as the mapping of a file of the arena has it. */
static uint8_t *stretch_open(uint64_t len)
{
	void *map =
		mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	wfs_stretch_add(map, len);
	return map;
}

static void stretch_close(uint8_t *map, uint64_t len)
{
	wfs_stretch_remove(map);
	munmap(map, len);
}

static void a_file_is_registered_once_and_let_go_of_before_it_goes(void **state)
{
	struct wfs_grounds grounds;
	struct book book;
	uint8_t *map;
	uint32_t key, again;

	(void)state;
	book_open(&book, UINT64_MAX);
	wfs_grounds_init(&grounds, &book.registrar, "test");
	for (unsigned i = 0; i < 3; i++) {
		map = stretch_open(40 * MIB);
		assert_int_equal(book.live, 0);
		assert_true(
			wfs_grounds_find(&grounds, map + 5, WFS_CHUNK, &key));
		assert_true(has(&book, key, map, 40 * MIB));
		assert_true(wfs_grounds_find(&grounds, map + 40 * MIB - 7, 7,
					     &again));
		assert_int_equal(again, key);
		assert_int_equal(book.ever, i + 1);
		stretch_close(map, 40 * MIB);
		assert_int_equal(book.live, 0);
	}
	wfs_grounds_clear(&grounds);
}

static void what_does_not_stay_or_is_small_is_not_registered(void **state)
{
	struct wfs_grounds grounds;
	struct book book;
	uint8_t *map, *small;
	uint32_t key = 77;

	(void)state;
	book_open(&book, UINT64_MAX);
	wfs_grounds_init(&grounds, &book.registrar, "test");
	map = stretch_open(WFS_GROUND_MIN);
	small = stretch_open(WFS_GROUND_MIN - 4096);
	assert_false(wfs_grounds_find(&grounds, &book, 8, &key));
	assert_false(wfs_grounds_find(&grounds, small, 8, &key));
	/* It begins within, and ends outside. */
	assert_false(
		wfs_grounds_find(&grounds, map + WFS_GROUND_MIN - 8, 9, &key));
	assert_int_equal(book.ever, 0);
	assert_true(wfs_grounds_find(&grounds, map, 8, &key));
	assert_false(
		wfs_grounds_find(&grounds, map + WFS_GROUND_MIN - 8, 9, &key));
	stretch_close(small, WFS_GROUND_MIN - 4096);
	stretch_close(map, WFS_GROUND_MIN);
	assert_false(wfs_grounds_find(&grounds, map, 8, &key));
	wfs_grounds_clear(&grounds);
}

/* Wherever a chunk lands, it lies in one registered part. */
static void a_file_larger_than_a_region_is_registered_in_parts(void **state)
{
	static const uint64_t maxima[] = { 2 * MIB, 3 * MIB + 4096, 16 * MIB,
					   33 * MIB - 4096, 33 * MIB };
	const uint64_t len = 33 * MIB;
	struct chance c = chance_new();

	(void)state;
	for (size_t i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
		struct wfs_grounds grounds;
		struct book book;
		uint8_t *map = stretch_open(len);

		book_open(&book, maxima[i]);
		wfs_grounds_init(&grounds, &book.registrar, "test");
		for (unsigned k = 0; k < 4000; k++) {
			uint64_t off = chance_below(&c, len);
			uint32_t n = (uint32_t)chance_below(&c, WFS_CHUNK) + 1;
			uint32_t key;

			if (n > len - off)
				n = (uint32_t)(len - off);
			assert_true(
				wfs_grounds_find(&grounds, map + off, n, &key));
			assert_true(has(&book, key, map + off, n));
		}
		assert_true(book.live >= len / maxima[i]);
		assert_true(book.live <= len / (maxima[i] - MIB) + 1);
		stretch_close(map, len);
		assert_int_equal(book.live, 0);
		wfs_grounds_clear(&grounds);
	}
}

static void what_is_refused_is_done_without_until_the_next_file(void **state)
{
	struct wfs_grounds grounds;
	struct book book;
	uint8_t *map = stretch_open(WFS_GROUND_MIN);
	uint32_t key;

	(void)state;
	book_open(&book, UINT64_MAX);
	wfs_grounds_init(&grounds, &book.registrar, "test");
	book.refuse = ENOMEM;
	assert_false(wfs_grounds_find(&grounds, map, 8, &key));
	book.refuse = 0;
	assert_false(wfs_grounds_find(&grounds, map, 8, &key));
	stretch_close(map, WFS_GROUND_MIN);
	map = stretch_open(WFS_GROUND_MIN);
	assert_true(wfs_grounds_find(&grounds, map, 8, &key));
	/* Whoever ends first lets go. */
	wfs_grounds_clear(&grounds);
	assert_int_equal(book.live, 0);
	stretch_close(map, WFS_GROUND_MIN);
}

static void a_slab_grows_by_blocks_and_gives_the_same_pieces_again(void **state)
{
	struct wfs_slab_piece *pieces[2 * WFS_SLAB_BLOCK + 1];
	const unsigned n = sizeof(pieces) / sizeof(pieces[0]);
	struct wfs_err err = { 0 };
	struct wfs_slab slab;
	struct book book;

	(void)state;
	book_open(&book, UINT64_MAX);
	wfs_slab_init(&slab, &book.registrar);
	assert_int_equal(book.ever, 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(wfs_slab_take(&slab, &pieces[i], &err),
					 0);
			assert_true(has(&book, pieces[i]->key, pieces[i]->bytes,
					WFS_SLAB_PIECE));
			memset(pieces[i]->bytes, (int)i, WFS_SLAB_PIECE);
		}
		/* No two share a byte. */
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(pieces[i]->bytes[0], i);
			assert_int_equal(pieces[i]->bytes[WFS_SLAB_PIECE - 1],
					 i);
			wfs_slab_give(&slab, pieces[i]);
		}
		assert_int_equal(book.ever, 3);
	}
	wfs_slab_give(&slab, NULL);
	wfs_slab_clear(&slab);
	assert_int_equal(book.live, 0);
}

static void a_slab_of_a_device_that_registers_little_has_small_blocks(void **st)
{
	struct wfs_slab_piece *pieces[5];
	struct wfs_err err = { 0 };
	struct wfs_slab slab;
	struct book book;

	(void)st;
	book_open(&book, 2 * WFS_SLAB_PIECE + 100);
	wfs_slab_init(&slab, &book.registrar);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(wfs_slab_take(&slab, &pieces[i], &err), 0);
		assert_true(has(&book, pieces[i]->key, pieces[i]->bytes,
				WFS_SLAB_PIECE));
	}
	assert_int_equal(book.live, 3);
	for (size_t i = 0; i < 5; i++)
		wfs_slab_give(&slab, pieces[i]);
	wfs_slab_clear(&slab);
	assert_int_equal(book.live, 0);
}

static void a_device_that_registers_less_than_a_chunk_is_said_to(void **state)
{
	struct wfs_slab_piece *piece = NULL;
	struct wfs_err err = { 0 };
	struct wfs_slab slab;
	struct book book;

	(void)state;
	book_open(&book, WFS_CHUNK);
	wfs_slab_init(&slab, &book.registrar);
	assert_int_equal(wfs_slab_take(&slab, &piece, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "registers 1048576 bytes as one"));
	assert_null(piece);
	wfs_slab_clear(&slab);
}

static void a_slab_that_cannot_grow_says_what_to_do(void **state)
{
	struct wfs_slab_piece *piece = NULL;
	struct wfs_err err = { 0 };
	struct wfs_slab slab;
	struct book book;

	(void)state;
	book_open(&book, UINT64_MAX);
	book.refuse = ENOMEM;
	wfs_slab_init(&slab, &book.registrar);
	assert_int_equal(wfs_slab_take(&slab, &piece, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "LimitMEMLOCK"));
	assert_null(piece);
	wfs_slab_clear(&slab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_is_registered_once_and_let_go_of_before_it_goes),
		T(what_does_not_stay_or_is_small_is_not_registered),
		T(a_file_larger_than_a_region_is_registered_in_parts),
		T(what_is_refused_is_done_without_until_the_next_file),
		T(a_slab_grows_by_blocks_and_gives_the_same_pieces_again),
		T(a_slab_of_a_device_that_registers_little_has_small_blocks),
		T(a_device_that_registers_less_than_a_chunk_is_said_to),
		T(a_slab_that_cannot_grow_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
