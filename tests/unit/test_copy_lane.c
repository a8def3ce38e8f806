/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane over another source: right bytes, wrong ones, too few, and none.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/unit/memory_source.h"
#include "transport/fetch/copy.h"

#define SIZE (3 * WFS_CHUNK + 777)
#define MS   1000000ull

struct bench {
	uint8_t *bytes, *other;
	struct wfs_copy *copy;
	struct memory_source *source;
	struct wfs_fetch *fetch;
	struct wfs_peer *peer;
	struct wfs_far *far;
	atomic_uint differing;
};

static void note_differs(void *ctx, struct wfs_peer *peer, uint64_t group,
			 const char *text)
{
	struct bench *b = ctx;

	assert_ptr_equal(peer, b->peer);
	assert_int_equal(group, 0);
	assert_non_null(strstr(text, "file 'bytes', offset"));
	atomic_fetch_add(&b->differing, 1);
}

/* The copy becomes that source, and is said to have the file. */
static void put(struct bench *b, const uint8_t *bytes, size_t size)
{
	uint8_t id[WFS_WIRE_ID_BYTES];

	if (b->source)
		wfs_source_put(&b->source->base);
	b->source = memory_source_new(bytes, size);
	wfs_copy_set(b->copy, &b->source->base);
	wfs_copy_id(b->copy, 0, id);
	wfs_far_hold(b->far, b->peer, id);
}

static int make(void **state)
{
	struct bench *b = wfs_calloc(1, sizeof(*b));
	struct wfs_fetch_config config = {
		.deadline_ns = 200 * MS,
		.retry_ns = MS,
		.differs = note_differs,
		.ctx = b,
	};
	struct wfs_digests *list = wfs_digests_new(WFS_XXH3_128, SIZE);

	b->bytes = wfs_malloc(SIZE);
	b->other = wfs_malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		b->bytes[i] = (uint8_t)(i * 2654435761u >> 11);
	memcpy(b->other, b->bytes, SIZE);
	b->other[SIZE - 1] ^= 1;
	for (uint64_t i = 0; i < list->count; i++)
		wfs_digest_bytes(WFS_XXH3_128, b->bytes + i * WFS_CHUNK,
				 wfs_chunk_len(SIZE, i),
				 wfs_digests_at(list, i));
	wfs_fetch_new(&config, &b->fetch);
	b->far = wfs_far_new(b->fetch, "model", "bytes", SIZE);
	wfs_far_trust(b->far, list);
	b->copy = wfs_copy_new();
	assert_int_equal(wfs_peer_add(b->fetch, "copy", &wfs_copy_lane_ops,
				      b->copy, 2, &b->peer),
			 0);
	put(b, b->bytes, SIZE);
	*state = b;
	return 0;
}

static int drop(void **state)
{
	struct bench *b = *state;

	wfs_far_free(b->far);
	wfs_fetch_free(b->fetch);
	wfs_copy_free(b->copy);
	wfs_source_put(&b->source->base);
	free(b->bytes);
	free(b->other);
	free(b);
	return 0;
}

static int read_at(struct bench *b, uint64_t off, size_t len)
{
	uint8_t *buf wfs_autofree = wfs_malloc(len);
	int rc = wfs_far_read(b->far, buf, len, off);

	if (!rc)
		assert_memory_equal(buf, b->bytes + off, len);
	return rc;
}

/* Its deadline is short, and a machine may be busy. */
static void assert_reads(struct bench *b, uint64_t off, size_t len)
{
	while (read_at(b, off, len))
		;
}

static void a_copy_gives_its_bytes(void **state)
{
	assert_reads(*state, 0, SIZE);
	assert_reads(*state, SIZE - 1, 1);
	assert_reads(*state, WFS_CHUNK - 1, 2);
}

/* The same of what it fails with: -EIO if it was not tried in time. */
static int failure_at(struct bench *b, uint64_t off)
{
	int rc = -EIO;

	for (int i = 0; i < 100 && rc == -EIO; i++)
		rc = read_at(b, off, 1);
	return rc;
}

static void wrong_bytes_are_seen_by_nobody(void **state)
{
	struct bench *b = *state;

	put(b, b->other, SIZE);
	assert_reads(b, 0, WFS_CHUNK); /* that chunk is right */
	assert_int_equal(failure_at(b, SIZE - 2), -EBADMSG);
	assert_int_equal(failure_at(b, 0), -EBADMSG);
	assert_int_equal(atomic_load(&b->differing), 1);
	put(b, b->bytes, SIZE);
	assert_reads(b, 0, SIZE);
}

static void a_copy_that_became_shorter_is_an_error(void **state)
{
	struct bench *b = *state;

	put(b, b->bytes, 2 * WFS_CHUNK + 5);
	assert_reads(b, WFS_CHUNK, WFS_CHUNK);
	assert_int_equal(read_at(b, 2 * WFS_CHUNK, 1), -EIO);
	assert_int_equal(read_at(b, SIZE - 1, 1), -EIO);
	assert_int_equal(atomic_load(&b->differing), 0);
}

static void an_error_is_tried_again(void **state)
{
	struct bench *b = *state;

	atomic_store(&b->source->fail_read, -EIO);
	assert_int_equal(read_at(b, 0, 10), -EIO);
	atomic_store(&b->source->fail_read, 0);
	assert_reads(b, 0, 10);
}

static void what_is_no_more_there_is_not_asked_for(void **state)
{
	struct bench *b = *state;
	unsigned reads = atomic_load(&b->source->reads);

	wfs_copy_set(b->copy, NULL);
	assert_int_equal(failure_at(b, 0), -EHOSTUNREACH);
	assert_int_equal(atomic_load(&b->source->reads), reads);
	put(b, b->bytes, SIZE);
	assert_reads(b, 0, SIZE);
}

#define TB(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TB(a_copy_gives_its_bytes),
		TB(wrong_bytes_are_seen_by_nobody),
		TB(a_copy_that_became_shorter_is_an_error),
		TB(an_error_is_tried_again),
		TB(what_is_no_more_there_is_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
