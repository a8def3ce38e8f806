/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of the node, over FAKE devices: which of them is read by, and what
 * becomes of it when something befalls them.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/text.h"
#include "tests/unit/rdma_bench.h"
#include "tests/unit/scratch.h"

#define SOME (8 * WFS_CHUNK)

static bool told(struct rdma_bench *b, const char *what)
{
	const char *label = "seed-rdma";
	struct wfs_text text = { 0 };
	bool found;

	wfs_rdma_peer_report(b->seed.peer, &text);
	wfs_rdma_peers_measure(&b->seed.peer, &label, 1, WFS_METRIC_OPEN,
			       &text);
	found = strstr(text.data, what);
	free(text.data);
	return found;
}

/* Fails with the test's deadline. */
static void await_told(struct rdma_bench *b, const char *what)
{
	while (!told(b, what))
		usleep(1000);
}

static const struct fake_rail near_and_far[] = {
	{ .prefix = 24, .node = 0 },
	{ .prefix = 24, .node = 1 },
};

static void the_port_that_is_near_to_memory_is_read_by(void **state)
{
	struct rdma_bench *b = rdma_bench_open(near_and_far, 2, 0);

	(void)state;
	fake_rdma_memory_of(1);
	rdma_bench_reads_by_rdma(b, 0, SIZE);
	assert_int_equal(fake_rdma_reads(0), 0);
	assert_true(told(b, "\"numa_node\": 0, \"near\": false, "
			    "\"connections\": 0, \"bytes\": 0"));
	assert_true(told(b, "\"numa_node\": 1, \"near\": true"));
	assert_true(told(b, "rdma_port_near{device=\"FAKE1\","
			    "address=\"192.0.2.2\"} 1"));
	assert_true(told(b, "rdma_port_read_bytes_total{device=\"FAKE0\","
			    "address=\"192.0.2.1\"} 0"));
	rdma_bench_close(b);
}

static void without_one_that_is_near_another_is_read_by(void **state)
{
	struct rdma_bench *b = rdma_bench_open(near_and_far, 2, 1);

	(void)state;
	fake_rdma_memory_of(1);
	rdma_bench_reads(b, 0, SOME);
	fake_rdma_port(1, false);
	while (!fake_rdma_reads(0))
		rdma_bench_reads(b, 0, SOME);
	fake_rdma_port(1, true);
	rdma_bench_close(b);
}

static void all_ports_are_read_by_whichever_rail_they_lead_to(void **state)
{
	const struct fake_rail same = { .prefix = 24 };
	const struct fake_rail rails[] = { same, same, same, same };
	struct rdma_bench *b = rdma_bench_open(rails, 4, 0);

	(void)state;
	for (size_t i = 0; i < 4; i++)
		while (!fake_rdma_reads(i))
			rdma_bench_reads_by_rdma(b, 0, SIZE);
	rdma_bench_close(b);
}

static void
a_port_that_comes_is_read_by_beside_one_of_two_addresses(void **state)
{
	static const struct fake_rail rails[] = {
		{ .prefix = 24, .twice = true },
		{ .prefix = 24 },
	};
	struct rdma_bench *b = rdma_bench_open(rails, 2, 1);

	(void)state;
	fake_rdma_address(1, false);
	while (!fake_rdma_reads(0))
		rdma_bench_reads(b, 0, SOME);
	assert_false(told(b, "FAKE1"));
	fake_rdma_address(1, true);
	/* The devices that are watched say that addresses changed. */
	fake_rdma_befall(0, IBV_EVENT_GID_CHANGE);
	await_told(b, "\"device\": \"FAKE1\", \"address\": \"192.0.2.2\", "
		      "\"up\": true");
	rdma_bench_close(b);
}

/* A lane may hear of a failure when the port is there again already. */
static void what_failed_before_a_port_returned_pauses_nothing(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	struct wfs_rdma_way before = rdma_seed_way(&b->seed), since;
	const atomic_bool never = false;
	struct wfs_err err = { 0 };

	(void)state;
	fake_rdma_port(0, false);
	await_told(b, "\"up\": false");
	fake_rdma_port(0, true);
	await_told(b, "\"up\": true");
	wfs_rdma_peer_pause(b->seed.peer, &before);
	since = rdma_seed_way(&b->seed);
	wfs_rdma_peer_pause(b->seed.peer, &since);
	wfs_rdma_peer_pause(b->seed.peer, &before);
	assert_int_equal(wfs_rdma_peer_way(b->seed.peer, &never, &since, &err),
			 -ENETUNREACH);
	assert_non_null(strstr(err.text, "paused"));
	rdma_bench_close(b);
}

/* It is up whenever it is looked at. */
static void a_port_that_was_down_between_two_looks_has_returned(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	struct wfs_rdma_way before = rdma_seed_way(&b->seed), since;
	const atomic_bool never = false;

	(void)state;
	fake_rdma_befall(0, IBV_EVENT_PORT_ERR);
	fake_rdma_befall(0, IBV_EVENT_PORT_ACTIVE);
	do
		wfs_rdma_peer_pause(b->seed.peer, &before);
	while (wfs_rdma_peer_way(b->seed.peer, &never, &since, NULL));
	assert_true(since.chosen > before.chosen);
	rdma_bench_close(b);
}

/* What befalls a device, by which it is done without, and how it returns. */
struct trouble {
	void (*begins)(void);
	void (*ends)(void);
	const char *said;
};

static void port_down(void)
{
	fake_rdma_port(0, false);
}

static void port_up(void)
{
	fake_rdma_port(0, true);
}

static void device_fatal(void)
{
	fake_rdma_befall(0, IBV_EVENT_DEVICE_FATAL);
}

static void nothing(void)
{
}

static void address_goes(void)
{
	fake_rdma_address(0, false);
}

static void address_comes(void)
{
	fake_rdma_address(0, true);
}

static const struct trouble troubles[] = {
	{ port_down, port_up,
	  "warn RDMA: 'FAKE0' at 192.0.2.1: its port is down: nothing is read "
	  "by it until it returns" },
	{ device_fatal, nothing,
	  "warn RDMA: 'FAKE0' at 192.0.2.1: FAKE device fatal: nothing is read "
	  "by it until it returns" },
	{ address_goes, address_comes,
	  "warn RDMA: 'FAKE0' at 192.0.2.1: it has no address any more: nothing "
	  "is read by it until it returns" },
};

static void survive(const struct scratch *scratch, const struct trouble *t)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	struct scratch_capture c = scratch_capture_stderr(scratch);
	unsigned links, reads;
	char *said;

	/* Nobody watches ports before there is a connection. */
	while (!fake_rdma_reads(0))
		rdma_bench_reads(b, 0, SOME);
	links = fake_rdma_count(FAKE_CONNECTIONS);
	t->begins();
	if (t->ends != nothing) {
		await_told(b, "\"up\": false");
		rdma_bench_reads(b, 0, SOME);
		assert_true(told(b, "\"up\": false"));
	}
	t->ends();
	await_told(b, "\"up\": true");
	reads = fake_rdma_reads(0);
	while (fake_rdma_count(FAKE_CONNECTIONS) == links ||
	       fake_rdma_reads(0) == reads)
		rdma_bench_reads(b, 0, SOME);
	rdma_bench_close(b);
	said = scratch_captured(&c);
	assert_int_equal(scratch_times_said(said, t->said), 1);
	assert_int_equal(
		scratch_times_said(said, "info RDMA: reading by 'FAKE0'"), 2);
	free(said);
}

static void what_befalls_a_port_is_said_once_and_it_returns(void **state)
{
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
		survive(*state, &troubles[i]);
}

/* A READ that nobody would ever hear of ends with its queue pair. */
static void a_queue_pair_that_fails_holds_nobody_up(void **state)
{
	const struct fake_fault fault = { .kind = FAKE_LOST,
					  .device = FAKE_ANY };
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *said;

	fake_rdma_inject(&fault);
	/*
	 * What comes before there is a connection comes over TCP; and a READ
	 * may end for its own time before the event is there.
	 */
	while (strcmp(rdma_bench_stats(b).why, strerror(ECONNABORTED)) != 0) {
		rdma_bench_reads(b, 0, SOME);
		fake_rdma_befall(0, IBV_EVENT_QP_FATAL);
		usleep(10000);
	}
	fake_rdma_heal();
	while (!rdma_bench_stats(b).chunks)
		rdma_bench_reads(b, 0, SOME);
	rdma_bench_close(b);
	said = scratch_captured(&c);
	assert_non_null(strstr(said, "RDMA: a connection to a seed ends: "
				     "FAKE queue pair fatal"));
	free(said);
}

#define IN_SCRATCH(test)                                                       \
	cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_port_that_is_near_to_memory_is_read_by),
		T(without_one_that_is_near_another_is_read_by),
		T(all_ports_are_read_by_whichever_rail_they_lead_to),
		T(a_port_that_comes_is_read_by_beside_one_of_two_addresses),
		T(what_failed_before_a_port_returned_pauses_nothing),
		T(a_port_that_was_down_between_two_looks_has_returned),
		IN_SCRATCH(what_befalls_a_port_is_said_once_and_it_returns),
		IN_SCRATCH(a_queue_pair_that_fails_holds_nobody_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
