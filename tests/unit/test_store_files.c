/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: a great many files, each of them small.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <sys/resource.h>

#include "tests/unit/store_fixture.h"

static void descriptors_are_a_bound_as_well(void **state)
{
	struct rlimit old, low;
	struct wfs_store_stats stats;
	struct bench b;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 200;
	bench_open(&b, 64 * MIB, 64 * MIB);
	b.kernel.bare = true;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (uint64_t key = 0; key < 500; key++) {
		assert_true(bench_acquire(&b, key, key * 4096, 4096) > 0);
		wfs_store_release(b.store, key);
	}
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.resident_files, 100);
	for (uint64_t key = 0; key < 100; key++)
		assert_true(bench_acquire(&b, key, key * 4096, 4096) > 0);
	assert_int_equal(bench_acquire(&b, 100, 0, 4096), -ENOSPC);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	bench_close(&b);
}

static void ten_thousand_small_files_take_what_they_hold(void **state)
{
	enum { N = 10000 };
	struct wfs_store_stats stats;
	struct rlimit limit;
	struct bench b;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	bench_open(&b, 64 * MIB, 64 * MIB);
	b.kernel.bare = true;
	for (uint64_t key = 0; key < N; key++) {
		assert_true(bench_acquire(&b, key, key * 4096, 4096) > 0);
		wfs_store_release(b.store, key);
	}
	wfs_store_stats(b.store, &stats);
	if (limit.rlim_max > N + 256) {
		assert_int_equal(stats.resident_files, N);
		assert_true(stats.arena_used >= N * 4096);
	}
	assert_true(stats.arena_used <= N * 4096 / 100 * 105);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(descriptors_are_a_bound_as_well),
		T(ten_thousand_small_files_take_what_they_hold),
	};

	return cmocka_run_group_tests_name("store_files", tests, NULL, NULL);
}
