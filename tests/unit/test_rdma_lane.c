/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes of READs through the fetch, over FAKE devices: whatever becomes of a
 * READ or a connection, a reader has the right bytes, the seed's memory is read
 * again when it can be, and nothing is left behind.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/stretch.h"
#include "tests/unit/rdma_bench.h"

#define BIG  (WFS_CHUNK / 2) /* of a chunk's READ, not of its digest's */
#define SOME (8 * WFS_CHUNK) /* sanitizers take their time with bytes */

/* Reads until the seed's memory is what is read again. */
static void await_back(struct rdma_bench *b)
{
	uint64_t before = rdma_bench_stats(b).chunks;

	while (rdma_bench_stats(b).chunks == before) {
		rdma_bench_reads(b, 0, SOME);
		usleep(1000);
	}
}

static void any_stretch_is_read_from_the_seed_s_memory(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);

	(void)state;
	rdma_bench_reads_by_rdma(b, 0, SIZE);
	rdma_bench_reads_by_rdma(b, SIZE - 1, 1);
	rdma_bench_reads_by_rdma(b, WFS_CHUNK - 1, 2);
	rdma_bench_reads_by_rdma(b, 5 * WFS_CHUNK + 17, 4 * WFS_CHUNK);
	assert_int_equal(fake_rdma_count(FAKE_FAILS), 0);
	rdma_bench_close(b);
}

static const enum ibv_wc_status failures[] = {
	IBV_WC_LOC_LEN_ERR,	  IBV_WC_LOC_QP_OP_ERR,
	IBV_WC_LOC_PROT_ERR,	  IBV_WC_WR_FLUSH_ERR,
	IBV_WC_BAD_RESP_ERR,	  IBV_WC_LOC_ACCESS_ERR,
	IBV_WC_REM_INV_REQ_ERR,	  IBV_WC_REM_ACCESS_ERR,
	IBV_WC_REM_OP_ERR,	  IBV_WC_RETRY_EXC_ERR,
	IBV_WC_RNR_RETRY_EXC_ERR, IBV_WC_RESP_TIMEOUT_ERR,
	IBV_WC_FATAL_ERR,	  IBV_WC_GENERAL_ERR,
};
#define FAILURES (sizeof(failures) / sizeof(failures[0]))

static unsigned bad_ends(void)
{
	return fake_rdma_count(FAKE_FAILS) + fake_rdma_count(FAKE_FLUSHES);
}

static void read_past(struct rdma_bench *b, enum ibv_wc_status status,
		      uint32_t least)
{
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = status,
					  .device = FAKE_ANY,
					  .least = least,
					  .skip = 5,
					  .times = 1 };
	unsigned before = bad_ends();

	fake_rdma_inject(&fault);
	while (bad_ends() == before)
		rdma_bench_reads(b, 0, SOME);
	assert_int_equal(rdma_bench_stats(b).wrong, 0);
}

/* The rail is left alone for longer than a test wants to wait. */
static bool pauses(enum ibv_wc_status status)
{
	return status == IBV_WC_RETRY_EXC_ERR;
}

static void past_all_failures(bool lands)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);

	b->lands = lands;
	for (size_t i = 0; i < FAILURES; i++) {
		if (pauses(failures[i]))
			continue;
		read_past(b, failures[i], i % 3 ? BIG : 0);
		await_back(b);
	}
	rdma_bench_close(b);
}

static void after_any_failure_others_are_asked_until_it_works(void **state)
{
	(void)state;
	past_all_failures(false);
	past_all_failures(true);
}

/* Each on a new queue pair, and with what the seed says then. */
static void with_nobody_else_the_seed_is_asked_again(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);

	(void)state;
	for (size_t i = 0; i < FAILURES; i++) {
		unsigned links = fake_rdma_count(FAKE_CONNECTIONS);
		unsigned asked = atomic_load(&b->seed.asked);

		if (pauses(failures[i]))
			continue;
		b->lands = i % 2;
		read_past(b, failures[i], BIG);
		while (fake_rdma_count(FAKE_CONNECTIONS) == links ||
		       (failures[i] == IBV_WC_REM_ACCESS_ERR &&
			atomic_load(&b->seed.asked) == asked))
			rdma_bench_reads(b, 0, SOME);
	}
	rdma_bench_close(b);
}

static void a_rail_that_does_not_answer_is_paused(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	/* For good: a pause may be over before anybody connects again. */
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = IBV_WC_RETRY_EXC_ERR,
					  .device = FAKE_ANY,
					  .least = BIG };

	(void)state;
	fake_rdma_inject(&fault);
	while (!strstr(rdma_bench_stats(b).why, "paused")) {
		rdma_bench_reads(b, 0, SOME);
		usleep(1000);
	}
	rdma_bench_close(b);
}

static void a_bad_rail_leaves_all_to_the_good_one(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 2, 0);
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = IBV_WC_RETRY_EXC_ERR,
					  .device = 0,
					  .least = BIG };

	(void)state;
	fake_rdma_inject(&fault);
	while (!fake_rdma_count(FAKE_FAILS))
		rdma_bench_reads(b, 0, SOME);
	rdma_bench_reads_by_rdma(b, 0, SOME);
	assert_true(fake_rdma_reads(1) >= 8);
	rdma_bench_close(b);
}

static void both_rails_are_used(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 2, 0);

	(void)state;
	while (!fake_rdma_reads(0) || !fake_rdma_reads(1))
		rdma_bench_reads_by_rdma(b, 0, SOME);
	rdma_bench_close(b);
}

static void a_port_that_goes_down_is_done_without(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 2, 0);

	(void)state;
	while (!fake_rdma_reads(0) || !fake_rdma_reads(1))
		rdma_bench_reads(b, 0, SOME);
	fake_rdma_port(0, false);
	for (unsigned i = 0; i < 4; i++)
		rdma_bench_reads(b, 0, SOME);
	rdma_bench_close(b);
}

static void completions_in_another_order_are_no_wrong_bytes(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	const struct fake_fault fault = { .kind = FAKE_SWAPPED,
					  .device = FAKE_ANY,
					  .times = 100 };

	(void)state;
	fake_rdma_inject(&fault);
	for (unsigned i = 0; i < 4; i++)
		rdma_bench_reads(b, 0, SOME);
	assert_int_equal(rdma_bench_stats(b).wrong, 0);
	fake_rdma_heal();
	rdma_bench_close(b);
}

/* Half of a READ was there, and the rest comes when the chunk was read. */
static void land_late(bool lands)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	const struct fake_fault fault = { .kind = FAKE_HELD,
					  .device = FAKE_ANY,
					  .least = BIG,
					  .skip = 1,
					  .times = 1 };
	uint8_t *buf = lands ? b->ground : wfs_malloc(SIZE);

	fake_rdma_inject(&fault);
	/* The other one has it all while RDMA is still being connected. */
	do {
		assert_int_equal(wfs_far_read(b->fetch->far, buf, SOME, 0), 0);
		assert_memory_equal(buf, b->fetch->bytes, SOME);
	} while (!fetch_bench_stats(b->fetch, 0).won);
	memset(buf, 0x5a, SOME);
	fake_rdma_release();
	/* Unless its queue pair went before. */
	while (fake_rdma_count(FAKE_RELEASES))
		usleep(1000);
	rdma_bench_reads(b, 0, SOME);
	for (size_t i = 0; i < SOME; i++)
		if (buf[i] != 0x5a)
			fail_msg("byte %zu was written late", i);
	rdma_bench_close(b);
	if (!lands)
		free(buf);
}

static void what_comes_late_is_written_to_nobody(void **state)
{
	(void)state;
	land_late(false);
	land_late(true);
}

static void what_stays_is_registered_once_and_let_go_of(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	unsigned before, with;

	(void)state;
	rdma_bench_reads_by_rdma(b, 0, SOME);
	before = fake_rdma_live_of("mr");
	b->lands = true;
	rdma_bench_reads_by_rdma(b, 0, SOME);
	with = fake_rdma_live_of("mr");
	assert_true(with > before);
	rdma_bench_reads_by_rdma(b, SOME, SOME);
	assert_int_equal(fake_rdma_live_of("mr"), with);
	wfs_stretch_remove(b->ground);
	assert_int_equal(fake_rdma_live_of("mr"), before);
	b->lands = false;
	rdma_bench_reads_by_rdma(b, 0, SOME);
	wfs_stretch_add(b->ground, SIZE);
	rdma_bench_close(b);
}

static void what_cannot_be_landed_in_is_copied_to(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	unsigned before;

	(void)state;
	rdma_bench_reads_by_rdma(b, 0, SOME);
	before = fake_rdma_live_of("mr");
	fake_rdma_refuse(ENOMEM, 0, 1000000);
	b->lands = true;
	rdma_bench_reads_by_rdma(b, 0, SOME);
	assert_int_equal(fake_rdma_live_of("mr"), before);
	rdma_bench_close(b);
}

static void what_nobody_hears_of_is_read_elsewhere(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	const struct fake_fault fault = {
		.kind = FAKE_LOST, .device = FAKE_ANY, .skip = 3, .times = 2
	};

	(void)state;
	fake_rdma_inject(&fault);
	while (fake_rdma_count(FAKE_LOSSES) < 2) {
		rdma_bench_reads(b, 0, SOME);
		b->lands = !b->lands;
	}
	rdma_bench_reads(b, 0, SOME);
	rdma_bench_close(b);
}

static void memory_that_cannot_be_registered_is_done_without(void **state)
{
	static const int errors[] = { ENOMEM, EPERM };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);

		fake_rdma_refuse(errors[i], 0, 1000000);
		rdma_bench_reads(b, 0, SOME);
		while (!strstr(rdma_bench_stats(b).why, "ulimit -l")) {
			rdma_bench_reads(b, 0, SOME);
			usleep(1000);
		}
		assert_int_equal(rdma_bench_stats(b).chunks, 0);
		fake_rdma_refuse(0, 0, 0);
		await_back(b);
		rdma_bench_close(b);
	}
}

static void a_connection_that_fails_is_tried_again(void **state)
{
	static const enum fake_answer answers[] = { FAKE_UNREACHABLE,
						    FAKE_NO_ROUTE,
						    FAKE_NO_DEPTH };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);

		/* Without a route each lane tries once more before it fails. */
		fake_rdma_answer(answers[i], RDMA_LANES + 1);
		rdma_bench_reads(b, 0, SOME);
		await_back(b);
		while (!rdma_bench_stats(b).errors)
			usleep(1000);
		rdma_bench_close(b);
	}
}

/* Nor does it hold anybody up who ends. */
static void a_seed_that_never_answers_is_done_without(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);

	(void)state;
	fake_rdma_answer(FAKE_SILENT, 1000);
	rdma_bench_reads(b, 0, SOME);
	assert_int_equal(rdma_bench_stats(b).chunks, 0);
	rdma_bench_close(b);
}

static void what_the_seed_has_in_memory_no_more_is_read_elsewhere(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);

	(void)state;
	rdma_bench_reads(b, 0, SOME);
	atomic_store(&b->seed.stock.gone, true);
	rdma_seed_await(&b->seed, 0, 0);
	rdma_bench_reads(b, 0, SOME);
	rdma_bench_close(b);
}

static void a_seed_that_goes_away_is_done_without(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);

	(void)state;
	rdma_bench_reads(b, 0, SOME);
	wfs_exporter_stop(b->seed.exporter);
	rdma_bench_reads(b, 0, SOME);
	rdma_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_stretch_is_read_from_the_seed_s_memory),
		T(after_any_failure_others_are_asked_until_it_works),
		T(with_nobody_else_the_seed_is_asked_again),
		T(a_rail_that_does_not_answer_is_paused),
		T(a_bad_rail_leaves_all_to_the_good_one),
		T(both_rails_are_used),
		T(a_port_that_goes_down_is_done_without),
		T(completions_in_another_order_are_no_wrong_bytes),
		T(what_comes_late_is_written_to_nobody),
		T(what_stays_is_registered_once_and_let_go_of),
		T(what_cannot_be_landed_in_is_copied_to),
		T(what_nobody_hears_of_is_read_elsewhere),
		T(memory_that_cannot_be_registered_is_done_without),
		T(a_connection_that_fails_is_tried_again),
		T(a_seed_that_never_answers_is_done_without),
		T(what_the_seed_has_in_memory_no_more_is_read_elsewhere),
		T(a_seed_that_goes_away_is_done_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
