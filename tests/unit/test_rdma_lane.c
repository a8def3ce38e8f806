/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes of READs through the fetch, over FAKE devices: whatever becomes of a
 * READ, a reader has the right bytes, and nothing is left behind.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/rdma_bench.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(any_stretch_is_read_from_the_seed_s_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
