/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said when RDMA does not work, over FAKE devices: one line each, with
 * the remedy, however many lanes meet it.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "tests/unit/rdma_bench.h"
#include "tests/unit/scratch.h"
#include "transport/rdma/rdma.h"

#define SOME (8 * WFS_CHUNK)

static void a_rail_that_is_paused_is_told_once(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	struct scratch_capture c = scratch_capture_stderr(*state);
	const struct fake_fault fault = { .kind = FAKE_STATUS,
					  .status = IBV_WC_RETRY_EXC_ERR,
					  .device = FAKE_ANY };
	char *said;

	fake_rdma_inject(&fault);
	while (!strstr(rdma_bench_stats(b).why, "paused")) {
		rdma_bench_reads(b, 0, SOME);
		usleep(1000);
	}
	rdma_bench_close(b);
	said = scratch_captured(&c);
	assert_int_equal(
		scratch_times_said(said, "seed 'seed-rdma': its rail 0, at "
					 "192.0.2.1, is not tried for 30 s by "
					 "'FAKE0'"),
		1);
	free(said);
}

static void memory_that_cannot_be_registered_is_told_once(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	struct scratch_capture c = scratch_capture_stderr(*state);
	char *said;

	rdma_bench_reads_by_rdma(b, 0, SOME);
	fake_rdma_refuse(EPERM, 0, 1000000);
	b->lands = true;
	rdma_bench_reads_by_rdma(b, 0, SOME);
	rdma_bench_reads_by_rdma(b, SOME, SOME);
	rdma_bench_close(b);
	said = scratch_captured(&c);
	assert_int_equal(scratch_times_said(said, "ulimit -l unlimited"), 1);
	assert_int_equal(scratch_times_said(said, "RDMA: 'FAKE0' cannot"), 1);
	free(said);
}

static void a_file_that_cannot_be_registered_is_told_once(void **state)
{
	static const struct fake_rail small = { .lockable = 4096 };
	struct scratch_capture c = scratch_capture_stderr(*state);
	struct rdma_seed seed = { .stock = { .count = 1, .size = 4096 } };
	char *said;

	seed.stock.bytes = wfs_calloc(1, 4096);
	fake_rdma_open(&small, 1);
	rdma_seed_open(&seed);
	rdma_seed_await(&seed, 1, 0);
	/* When it is asked for first, and not each time. */
	rdma_seed_way(&seed);
	rdma_seed_way(&seed);
	rdma_seed_close(&seed);
	fake_rdma_close();
	said = scratch_captured(&c);
	assert_int_equal(scratch_times_said(said, "for RDMA on 'FAKE0'"), 1);
	assert_int_equal(scratch_times_said(said, "LimitMEMLOCK=infinity"), 1);
	free(said);
	free((void *)(uintptr_t)seed.stock.bytes);
}

/* However often they are looked for. */
static void ports_that_are_too_many_are_told_once(void **state)
{
	struct scratch_capture c = scratch_capture_stderr(*state);
	struct wfs_rdma_port *ports;
	struct wfs_err err = { 0 };
	size_t count;
	char *said;

	fake_rdma_open(NULL, WFS_RAILS_MAX + 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(wfs_rdma_ports(&ports, &count, &err), 0);
		assert_int_equal(count, WFS_RAILS_MAX);
		free(ports);
	}
	fake_rdma_close();
	said = scratch_captured(&c);
	assert_int_equal(scratch_times_said(said, "RDMA: 'FAKE16' at "
						  "192.0.2.17 is not used"),
			 1);
	free(said);
}

#define IN_SCRATCH(test)                                                       \
	cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(a_rail_that_is_paused_is_told_once),
		IN_SCRATCH(memory_that_cannot_be_registered_is_told_once),
		IN_SCRATCH(a_file_that_cannot_be_registered_is_told_once),
		IN_SCRATCH(ports_that_are_too_many_are_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
