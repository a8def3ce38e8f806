/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler of chunks with as many peers as a fleet has.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/fetch_fixture.h"

#define LAST (PEERS_MAX - 1)

static void open_world(struct fetch_bench **ret)
{
	*ret = fetch_bench_open(PEERS_MAX, 0);
	for (unsigned i = 0; i < PEERS_MAX; i++)
		SET(&(*ret)->fakes[i], down, true);
}

/* Brings it by that one alone. */
static void read_by(struct fetch_bench *b, unsigned peer)
{
	uint64_t before = fetch_bench_stats(b, peer).chunks;

	SET(&b->fakes[peer], down, false);
	fetch_bench_reads(b, 0, 8 * WFS_CHUNK);
	assert_true(fetch_bench_stats(b, peer).chunks - before >= 8);
	SET(&b->fakes[peer], down, true);
}

static void whoever_of_many_is_well_is_found(void **state)
{
	struct fetch_bench *b;

	(void)state;
	open_world(&b);
	read_by(b, LAST);
	assert_true(fetch_bench_stats(b, LAST).lanes <= 1);
	read_by(b, 64);
	read_by(b, 0);
	fetch_bench_close(b);
}

static void of_many_some_do_not_have_it_any_more(void **state)
{
	static const uint8_t id[WFS_WIRE_ID_BYTES] = "region";
	struct fetch_bench *b;

	(void)state;
	open_world(&b);
	for (unsigned i = 0; i < PEERS_MAX; i += 2)
		wfs_far_drop(b->far, b->peers[i]);
	for (unsigned i = 0; i < PEERS_MAX; i++)
		assert_int_equal(wfs_far_has(b->far, b->peers[i]), i % 2);
	read_by(b, LAST);
	wfs_far_hold(b->far, b->peers[100], id);
	for (unsigned i = 0; i < PEERS_MAX; i++)
		assert_int_equal(wfs_far_has(b->far, b->peers[i]),
				 i % 2 || i == 100);
	read_by(b, 100);
	fetch_bench_close(b);
}

/* The connections of all but one break. */
static void all_of_many_are_asked_before_one_is_asked_again(void **state)
{
	struct fetch_bench *b = fetch_bench_open(PEERS_MAX, 0);

	(void)state;
	for (unsigned i = 0; i < LAST; i++)
		SET(&b->fakes[i], fail_in, 1);
	fetch_bench_reads(b, 0, SIZE);
	assert_int_equal(fetch_bench_stats(b, LAST).errors, 0);
	fetch_bench_close(b);
}

static void whatever_is_too_much_says_what_to_do(void **state)
{
	(void)state;
	assert_non_null(strstr(wfs_peer_refusal(-E2BIG), "fewer --seed"));
	assert_non_null(strstr(wfs_peer_refusal(-EAGAIN), "ulimit -u"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(whoever_of_many_is_well_is_found),
		T(of_many_some_do_not_have_it_any_more),
		T(all_of_many_are_asked_before_one_is_asked_again),
		T(whatever_is_too_much_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
