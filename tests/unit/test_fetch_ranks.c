/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers of several ranks, and copies that nobody vouches for.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/fetch_fixture.h"

static uint64_t by_rank(struct fetch_bench *b, unsigned rank)
{
	return atomic_load(&b->group.bytes[rank]);
}

/* From now on what is right is what the bench has. */
static void trust_bytes(struct fetch_bench *b)
{
	struct wfs_digests *list = wfs_digests_new(WFS_XXH3_128, SIZE);

	for (uint64_t i = 0; i < list->count; i++)
		wfs_digest_bytes(WFS_XXH3_128, b->bytes + i * WFS_CHUNK,
				 wfs_chunk_len(SIZE, i),
				 wfs_digests_at(list, i));
	assert_true(wfs_far_trust(b->far, list));
}

/* One chunk after the other until a peer of the rank brought one. */
static void read_until_rank(struct fetch_bench *b, unsigned rank)
{
	uint64_t had = by_rank(b, rank);

	for (uint64_t i = 0; by_rank(b, rank) == had; i++)
		fetch_bench_reads(b, i % 37 * WFS_CHUNK, WFS_CHUNK);
}

static void a_later_rank_is_asked_when_no_earlier_one_brings_it(void **state)
{
	struct fetch_bench *b = fetch_bench_open(3, 0);

	(void)state;
	for (unsigned i = 0; i < b->n; i++)
		wfs_peer_set_rank(b->peers[i], i);
	/* The first one's patience may end on a busy machine; not its bytes. */
	fetch_bench_reads(b, 0, SIZE);
	assert_true(by_rank(b, 0) > 0);
	SET(&b->fakes[0], down, true);
	read_until_rank(b, 1);
	SET(&b->fakes[1], frozen, true);
	fetch_bench_reads(b, 0, SIZE);
	assert_true(by_rank(b, 2) > 0);
	SET(&b->fakes[1], frozen, false);
	SET(&b->fakes[0], down, false);
	fetch_bench_reads(b, 0, SIZE);
	fetch_bench_close(b);
}

static void the_earlier_rank_is_asked_again_when_it_is_back(void **state)
{
	struct fetch_bench *b = fetch_bench_open(1, 0);

	(void)state;
	fetch_bench_add_copy(b);
	trust_bytes(b);
	SET(&b->fakes[0], down, true);
	fetch_bench_reads(b, 0, SIZE);
	assert_int_equal(by_rank(b, 0), 0);
	SET(&b->fakes[0], down, false);
	/* One chunk at a time the copy would win every race. */
	for (uint64_t i = 0; !by_rank(b, 0); i++) {
		wfs_peer_is_up(b->peers[0]);
		fetch_bench_reads(b, i % 37 * WFS_CHUNK, 1);
	}
	fetch_bench_close(b);
}

static void what_answers_elsewhere_and_not_here_holds_nobody_up(void **state)
{
	struct fetch_bench *b = fetch_bench_open(1, 0);

	(void)state;
	fetch_bench_add_copy(b);
	trust_bytes(b);
	SET(&b->fakes[0], down, true);
	for (uint64_t i = 0; i < 37; i++) {
		wfs_peer_is_up(b->peers[0]);
		fetch_bench_reads(b, i * WFS_CHUNK, WFS_CHUNK);
	}
	assert_int_equal(by_rank(b, 1), 37 * WFS_CHUNK);
	fetch_bench_close(b);
}

static unsigned asked_of(struct fake *fake)
{
	unsigned asked;

	pthread_mutex_lock(&fake->lock);
	asked = fake->asked;
	pthread_mutex_unlock(&fake->lock);
	return asked;
}

static void a_copy_is_asked_with_a_list_only(void **state)
{
	struct fetch_bench *b = fetch_bench_open(1, 100 * MS);
	uint8_t buf[16];

	(void)state;
	fetch_bench_add_copy(b);
	SET(&b->fakes[0], down, true);
	assert_int_equal(fetch_bench_failure(b, 0), -EHOSTUNREACH);
	assert_int_equal(asked_of(&b->fakes[1]), 0);
	trust_bytes(b);
	while (wfs_far_read(b->far, buf, sizeof(buf), 0))
		;
	assert_memory_equal(buf, b->bytes, sizeof(buf));
	fetch_bench_close(b);
}

static void a_copy_of_another_version_is_asked_once(void **state)
{
	static const uint8_t id[WFS_WIRE_ID_BYTES] = "newer";
	struct fetch_bench *b = fetch_bench_open(1, 100 * MS);
	uint8_t *other = wfs_malloc(SIZE);
	uint8_t buf[16];
	unsigned asked;

	(void)state;
	memset(other, 7, SIZE);
	fetch_bench_add_copy(b);
	trust_bytes(b);
	SET(&b->fakes[0], down, true);
	SET(&b->fakes[1], bytes, other);
	assert_int_equal(fetch_bench_failure(b, 0), -EBADMSG);
	while (fetch_bench_stats(b, 1).busy)
		usleep(1000);
	asked = asked_of(&b->fakes[1]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fetch_bench_failure(b, 0), -EBADMSG);
	assert_int_equal(asked_of(&b->fakes[1]), asked);
	assert_true(fetch_bench_stats(b, 1).wrong > 0);
	assert_int_equal(atomic_load(&b->differing), 1);
	assert_true(fetch_bench_stats(b, 1).quarantine_s <= 0);
	SET(&b->fakes[1], bytes, b->bytes);
	wfs_far_hold(b->far, b->peers[1], id);
	while (wfs_far_read(b->far, buf, sizeof(buf), 0))
		;
	assert_memory_equal(buf, b->bytes, sizeof(buf));
	fetch_bench_close(b);
	free(other);
}

static void what_a_copy_lacks_makes_no_version_stale(void **state)
{
	struct fetch_bench *b = fetch_bench_open(1, 100 * MS);
	uint8_t buf[16];

	(void)state;
	fetch_bench_add_copy(b);
	trust_bytes(b);
	SET(&b->fakes[0], down, true);
	SET(&b->fakes[1], refuse, WFS_WIRE_STALE);
	assert_int_equal(fetch_bench_failure(b, 0), -EHOSTUNREACH);
	SET(&b->fakes[0], down, false);
	SET(&b->fakes[0], refuse, WFS_WIRE_STALE);
	while (wfs_far_read(b->far, buf, sizeof(buf), 0) != -ESTALE)
		;
	assert_int_equal(wfs_far_read(b->far, buf, sizeof(buf), 0), -ESTALE);
	fetch_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_later_rank_is_asked_when_no_earlier_one_brings_it),
		T(the_earlier_rank_is_asked_again_when_it_is_back),
		T(what_answers_elsewhere_and_not_here_holds_nobody_up),
		T(a_copy_is_asked_with_a_list_only),
		T(a_copy_of_another_version_is_asked_once),
		T(what_a_copy_lacks_makes_no_version_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
