/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler of chunks, over lanes of the test: seeds in memory that are
 * late, fail, lie or hang when told to.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/source.h"
#include "tests/unit/chance.h"
#include "tests/unit/fetch_fixture.h"

#define CHANCE_PEERS 4

static void any_stretch_is_read(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);

	(void)state;
	fetch_bench_reads(b, 0, SIZE);
	fetch_bench_reads(b, 0, 1);
	fetch_bench_reads(b, SIZE - 1, 1);
	fetch_bench_reads(b, WFS_CHUNK - 1, 2);
	fetch_bench_reads(b, 5 * WFS_CHUNK + 17, 4 * WFS_CHUNK);
	assert_int_equal(wfs_far_read(b->far, NULL, 0, 0), 0);
	fetch_bench_close(b);
}

struct reader {
	struct fetch_bench *b;
	pthread_t thread;
	size_t len; /* of read_one */
	unsigned seed;
	int rc;
};

static void *read_one(void *arg)
{
	struct reader *r = arg;

	r->rc = fetch_bench_read(r->b, 0, r->len);
	return NULL;
}

/* All but the last peer hang, and it is down until each was asked. */
static struct fetch_bench *read_past_frozen(unsigned peers)
{
	struct fetch_bench *b = fetch_bench_open(peers, 0);
	/* Of one chunk where several hang, or they would share them. */
	struct reader reader = { .b = b, .len = peers > 2 ? 10 : SIZE };

	SET(&b->fakes[peers - 1], down, true);
	for (unsigned i = 0; i + 1 < peers; i++)
		SET(&b->fakes[i], frozen, true);
	pthread_create(&reader.thread, NULL, read_one, &reader);
	for (unsigned i = 0; i + 1 < peers; i++)
		while (!fetch_bench_stats(b, i).busy)
			usleep(1000);
	SET(&b->fakes[peers - 1], down, false);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.rc, 0);
	assert_true(fetch_bench_stats(b, peers - 1).won > 0);
	return b;
}

static void a_frozen_peer_is_done_without(void **state)
{
	struct fetch_bench *b = read_past_frozen(2);

	(void)state;
	SET(&b->fakes[0], frozen, false);
	fetch_bench_reads(b, 0, SIZE);
	fetch_bench_close(b);
}

/* The chunk was asked of one, and as it was late of another that hangs. */
static void two_frozen_peers_are_done_without(void **state)
{
	(void)state;
	fetch_bench_close(read_past_frozen(3));
}

/* It froze with half a chunk in the reader's memory. */
static void a_peer_that_freezes_within_a_chunk_is_cut_off(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct fake *fake = &b->fakes[i % 2];
		unsigned halves = 0;

		SET(fake, halves, 0);
		SET(fake, stuck, true);
		while (!halves) {
			fetch_bench_reads(b, (uint64_t)i * WFS_CHUNK,
					  8 * WFS_CHUNK);
			pthread_mutex_lock(&fake->lock);
			halves = fake->halves;
			pthread_mutex_unlock(&fake->lock);
		}
		SET(fake, stuck, false);
	}
	fetch_bench_close(b);
}

static void wrong_bytes_are_never_given_out(void **state)
{
	struct fetch_bench *b = fetch_bench_open(3, 0);

	(void)state;
	SET(&b->fakes[1], lies, true);
	while (!fetch_bench_stats(b, 1).wrong)
		fetch_bench_reads(b, 0, SIZE);
	fetch_bench_reads(b, 0, SIZE);
	assert_int_equal(fetch_bench_stats(b, 0).wrong +
				 fetch_bench_stats(b, 2).wrong,
			 0);
	fetch_bench_close(b);
}

/* From now on what is right is what is there now. */
static void trust_bytes(struct fetch_bench *b)
{
	struct wfs_digests *list = wfs_digests_new(WFS_XXH3_128, SIZE);

	for (uint64_t i = 0; i < list->count; i++)
		wfs_digest_bytes(WFS_XXH3_128, b->bytes + i * WFS_CHUNK,
				 wfs_chunk_len(SIZE, i),
				 wfs_digests_at(list, i));
	assert_true(wfs_far_trust(b->far, list));
	assert_true(wfs_far_is_trusted(b->far));
}

static void a_list_of_digests_is_believed_before_what_comes_along(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0),
			   *alone = fetch_bench_open(1, 200 * MS);
	uint8_t *other = wfs_malloc(SIZE);

	(void)state;
	/* The seed is of one mind with itself, and wrong. */
	memset(other, 7, SIZE);
	trust_bytes(b);
	SET(&b->fakes[0], bytes, other);
	while (!fetch_bench_stats(b, 0).wrong)
		fetch_bench_reads(b, 0, SIZE);
	fetch_bench_close(b);
	trust_bytes(alone);
	SET(&alone->fakes[0], bytes, other);
	/* Also while it is in quarantine, and not asked at all. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(fetch_bench_failure(alone, i * WFS_CHUNK),
				 -EBADMSG);
	fetch_bench_close(alone);
	free(other);
}

static void a_faster_way_is_taken_alone_while_it_works(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);
	uint64_t slow, fast;

	(void)state;
	wfs_peer_prefer(b->peers[1], b->peers[0]);
	/* Only what is late goes the other way, which a busy machine may be. */
	do {
		slow = fetch_bench_stats(b, 0).chunks;
		fast = fetch_bench_stats(b, 1).chunks;
		fetch_bench_reads(b, 0, SIZE);
	} while (fetch_bench_stats(b, 0).chunks > slow);
	assert_true(fetch_bench_stats(b, 1).chunks > fast);
	fast = fetch_bench_stats(b, 1).chunks;
	SET(&b->fakes[1], down, true);
	slow = fetch_bench_stats(b, 0).chunks;
	fetch_bench_reads(b, 0, SIZE);
	assert_true(fetch_bench_stats(b, 0).chunks > slow);
	/* It is tried again, and taken again. */
	SET(&b->fakes[1], down, false);
	while (fetch_bench_stats(b, 1).chunks == fast)
		fetch_bench_reads(b, 0, SIZE);
	fetch_bench_close(b);
}

static void a_faster_way_that_hangs_holds_nobody_up(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);

	(void)state;
	wfs_peer_prefer(b->peers[1], b->peers[0]);
	SET(&b->fakes[1], frozen, true);
	for (int i = 0; i < 3; i++)
		fetch_bench_reads(b, 0, SIZE);
	SET(&b->fakes[1], frozen, false);
	fetch_bench_reads(b, 0, SIZE);
	fetch_bench_close(b);
}

static void what_fails_is_asked_of_another(void **state)
{
	struct fetch_bench *b = fetch_bench_open(3, 0);

	(void)state;
	SET(&b->fakes[0], fail_in, 5);
	SET(&b->fakes[1], refuse, WFS_WIRE_BUSY);
	for (int i = 0; i < 3; i++)
		fetch_bench_reads(b, 0, SIZE);
	SET(&b->fakes[2], down, true);
	SET(&b->fakes[1], refuse, WFS_WIRE_OK);
	fetch_bench_reads(b, 0, SIZE);
	fetch_bench_close(b);
}

static void with_nobody_left_a_read_fails_and_the_next_works(void **state)
{
	struct fetch_bench *b = fetch_bench_open(1, 500 * MS);
	uint8_t buf[100];

	(void)state;
	SET(&b->fakes[0], down, true);
	assert_int_equal(fetch_bench_failure(b, 0), -EHOSTUNREACH);
	SET(&b->fakes[0], down, false);
	while (wfs_far_read(b->far, buf, 100, 3 * WFS_CHUNK))
		;
	assert_memory_equal(buf, b->bytes + 3 * WFS_CHUNK, 100);
	/* The same where it hangs in the middle of a chunk. */
	SET(&b->fakes[0], frozen, true);
	assert_int_equal(wfs_far_read(b->far, buf, 100, 0), -EIO);
	SET(&b->fakes[0], frozen, false);
	while (wfs_far_read(b->far, buf, 100, 0))
		;
	fetch_bench_close(b);
}

static void a_region_that_was_rewritten_is_stale(void **state)
{
	static const uint8_t id[WFS_WIRE_ID_BYTES] = "another";
	struct fetch_bench *b = fetch_bench_open(2, 0);
	uint8_t buf[8];

	(void)state;
	SET(&b->fakes[0], refuse, WFS_WIRE_STALE);
	fetch_bench_reads(b, 0, SIZE); /* the other has it */
	SET(&b->fakes[1], refuse, WFS_WIRE_STALE);
	while (!wfs_far_read(b->far, buf, sizeof(buf), 0))
		;
	assert_int_equal(wfs_far_read(b->far, buf, sizeof(buf), 0), -ESTALE);
	SET(&b->fakes[1], refuse, WFS_WIRE_OK);
	wfs_far_hold(b->far, b->peers[1], id);
	fetch_bench_reads(b, 0, SIZE);
	/* What is said elsewhere counts as well. */
	wfs_far_replaced(b->far, b->peers[1]);
	assert_int_equal(wfs_far_read(b->far, buf, sizeof(buf), 0), -ESTALE);
	fetch_bench_close(b);
}

static void what_was_rewritten_is_so_by_the_faster_way_too(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);
	uint8_t buf[8];

	(void)state;
	wfs_peer_prefer(b->peers[1], b->peers[0]);
	SET(&b->fakes[1], refuse, WFS_WIRE_NOT_HELD);
	SET(&b->fakes[0], refuse, WFS_WIRE_STALE);
	assert_int_equal(wfs_far_read(b->far, buf, sizeof(buf), 0), -ESTALE);
	fetch_bench_close(b);
}

static void stopping_ends_every_wait(void **state)
{
	struct fetch_bench *b = fetch_bench_open(2, 0);
	struct reader readers[4];

	(void)state;
	SET(&b->fakes[0], frozen, true);
	SET(&b->fakes[1], down, true);
	for (int i = 0; i < 4; i++) {
		readers[i] = (struct reader){ .b = b, .len = 10 };
		pthread_create(&readers[i].thread, NULL, read_one, &readers[i]);
	}
	while (!fetch_bench_stats(b, 0).busy)
		usleep(1000);
	wfs_fetch_stop(b->fetch);
	for (int i = 0; i < 4; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].rc, -ESHUTDOWN);
	}
	fetch_bench_close(b);
}

static void *read_many(void *arg)
{
	struct reader *r = arg;
	struct chance chance = { .state = r->seed };

	for (int i = 0; i < 30 && !r->rc; i++) {
		uint64_t off = chance_below(&chance, SIZE - 1);
		uint64_t len = 1 + chance_below(&chance, 6 * WFS_CHUNK);

		if (len > SIZE - off)
			len = SIZE - off;
		wfs_read_ahead(chance_below(&chance, 2));
		r->rc = fetch_bench_read(r->b, off, len);
	}
	return NULL;
}

/* One good peer is left at any time: no read fails, no byte is wrong. */
static void faults_by_chance_lose_no_read(void **state)
{
	struct fetch_bench *b = fetch_bench_open(CHANCE_PEERS, 0);
	struct chance chance = chance_new();
	struct reader readers[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		readers[i] = (struct reader){
			.b = b,
			.seed = 1 + (unsigned)chance_below(&chance, 1u << 30),
		};
		pthread_create(&readers[i].thread, NULL, read_many,
			       &readers[i]);
	}
	for (int i = 0; i < 60; i++) {
		struct fake *fake =
			&b->fakes[1 + chance_below(&chance, CHANCE_PEERS - 1)];
		bool on = chance_below(&chance, 2);

		switch (chance_below(&chance, 5)) {
		case 0:
			SET(fake, down, on);
			break;
		case 1:
			SET(fake, frozen, on);
			break;
		case 2:
			SET(fake, lies, on);
			break;
		case 3:
			SET(fake, fail_in, on ? 3 : 0);
			break;
		default:
			SET(fake, refuse, on ? WFS_WIRE_NOT_HELD : WFS_WIRE_OK);
		}
		usleep(5000);
	}
	for (unsigned i = 0; i < 6; i++)
		pthread_join(readers[i].thread, NULL);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(readers[i].rc, 0);
	assert_int_equal(fetch_bench_stats(b, 0).wrong, 0);
	fetch_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_stretch_is_read),
		T(a_frozen_peer_is_done_without),
		T(two_frozen_peers_are_done_without),
		T(a_peer_that_freezes_within_a_chunk_is_cut_off),
		T(wrong_bytes_are_never_given_out),
		T(a_list_of_digests_is_believed_before_what_comes_along),
		T(a_faster_way_is_taken_alone_while_it_works),
		T(a_faster_way_that_hangs_holds_nobody_up),
		T(what_fails_is_asked_of_another),
		T(with_nobody_left_a_read_fails_and_the_next_works),
		T(a_region_that_was_rewritten_is_stale),
		T(what_was_rewritten_is_so_by_the_faster_way_too),
		T(stopping_ends_every_wait),
		T(faults_by_chance_lose_no_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
