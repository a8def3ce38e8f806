/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed's rails as a node knows them, over FAKE devices: what they counted and
 * which key is whose, while sessions end and ports come and go; and one that
 * allows little.
 */
#include "tests/unit/t.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "tests/unit/rdma_bench.h"

#define LEN 4096u

static bool reports(struct rdma_bench *b, const char *what)
{
	struct wfs_text text = { 0 };
	bool found;

	wfs_rdma_peer_report(b->seed.peer, &text);
	found = strstr(text.data, what);
	free(text.data);
	return found;
}

static void a_key_that_opens_nothing_is_counted_when_it_is_forgotten(void **st)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = IBV_WC_REM_ACCESS_ERR,
					  .device = FAKE_ANY };

	(void)st;
	fake_rdma_inject(&fault);
	/* One that is cut for being late hears of no failure: yet another. */
	while (!rdma_bench_stats(b).errors ||
	       reports(b, "\"remote_access\": 0"))
		rdma_bench_reads(b, 0, WFS_CHUNK);
	wfs_rdma_peer_forget(b->seed.peer, rdma_seed_way(&b->seed).session);
	assert_true(reports(b, "\"192.0.2.1\""));
	assert_false(reports(b, "\"remote_access\": 0"));
	rdma_bench_close(b);
}

/* The session that there is ends; the next one's first way. */
static struct wfs_rdma_way next_way(struct rdma_bench *b)
{
	wfs_rdma_peer_forget(b->seed.peer, rdma_seed_way(&b->seed).session);
	return rdma_seed_way(&b->seed);
}

static void read_at(struct rdma_bench *b, const struct wfs_rdma_way *way)
{
	struct rdma_reader reader;
	struct wfs_rdma_place place;

	assert_int_equal(rdma_reader_open(&reader, &b->seed, way), 0);
	place = rdma_reader_find(&reader, &b->seed, 0);
	assert_int_equal(rdma_reader_read(&reader, place.address, LEN,
					  place.rkeys[way->rail]),
			 IBV_WC_SUCCESS);
	rdma_reader_close(&reader);
}

static void a_rail_keeps_its_place_and_key_when_others_go(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 2, 0);
	struct wfs_rdma_way way = rdma_seed_way(&b->seed);

	(void)state;
	assert_int_equal(b->seed.peer->rail_count, 2);
	fake_rdma_port(0, false);
	do
		way = next_way(b);
	while (b->seed.peer->table.rail_count == 2);
	assert_string_equal(way.to.address, "192.0.2.2");
	assert_int_equal(way.rail, 1);
	read_at(b, &way);
	assert_true(reports(b, "\"192.0.2.1\""));
	fake_rdma_port(0, true);
	do
		way = next_way(b);
	while (strcmp(way.to.address, "192.0.2.1"));
	assert_int_equal(way.rail, 0);
	read_at(b, &way);
	rdma_bench_close(b);
}

static void two_hundred_connections_leave_nothing_behind(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	struct wfs_rdma_way way = rdma_seed_way(&b->seed);
	unsigned live = 0;

	(void)state;
	for (unsigned i = 0; i <= 200; i++) {
		read_at(b, &way);
		rdma_seed_await_none(&b->seed);
		/* The first brings what stays: the device, the kind's keys. */
		live = i ? live : fake_rdma_live();
		assert_int_equal(fake_rdma_live(), live);
	}
	assert_int_equal(fake_rdma_count(FAKE_CONNECTIONS), 201);
	rdma_bench_close(b);
}

static void one_read_at_a_time_is_enough(void **state)
{
	const struct fake_rail one = { .reads = 1 };
	struct rdma_bench *b = rdma_bench_open(&one, 1, 0);

	(void)state;
	rdma_bench_reads_by_rdma(b, 0, SIZE);
	rdma_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_key_that_opens_nothing_is_counted_when_it_is_forgotten),
		T(two_hundred_connections_leave_nothing_behind),
		T(one_read_at_a_time_is_enough),
		T(a_rail_keeps_its_place_and_key_when_others_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
