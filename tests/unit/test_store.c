/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: acquiring, hydrating, waiting, reading.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/unit/store_fixture.h"

static void bytes_of_every_size_are_right(void **state)
{
	static const uint64_t sizes[] = { 0,	   1,	     4095,
					  4096,	   4097,     65535,
					  262144,  300001,   2097151,
					  2097152, 2097153,  8388608,
					  8388609, 16777215, 33554432 + 7 };
	struct bench b;

	(void)state;
	bench_open(&b, 256 * MIB, 64 * MIB);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		bench_acquire_right(&b, i, i * 3, sizes[i]);
		bench_acquire_right(&b, i, i * 3, sizes[i]);
		wfs_store_release(b.store, i);
		wfs_store_release(b.store, i);
	}
	assert_int_equal(b.kernel.exposed, sizeof(sizes) / sizeof(*sizes));
	bench_close(&b);
}

static void one_hydration_however_many_acquire(void **state)
{
	enum { N = 50 };
	struct sleeper sleepers[N];
	struct wfs_store_stats stats;
	struct slice slice;
	struct bench b;
	int id = 0;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 4 * MIB);
	gated_source_gate(b.src, 0);
	for (int i = 0; i < N; i++) {
		uint64_t wait_ns = 0;

		sleeper_init(&sleepers[i]);
		assert_int_equal(wfs_store_acquire(b.store, 7, &slice.recipe,
						   &sleepers[i].waiter,
						   &wait_ns),
				 -EINPROGRESS);
		assert_true(wait_ns > 0);
	}
	gated_source_gate(b.src, GATE_OPEN);
	for (int i = 0; i < N; i++) {
		int result = sleeper_wait(&sleepers[i]);

		assert_true(result > 0 && (!id || result == id));
		id = result;
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(sleeper_calls(&sleepers[i]), 1);
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.hydrated_files, 1);
	assert_int_equal(stats.pinned_files, 1);
	assert_int_equal(atomic_load(&b.src->reads), 4);
	for (int i = 0; i < N; i++)
		wfs_store_release(b.store, 7);
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.pinned_files, 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_of_every_size_are_right),
		T(one_hydration_however_many_acquire),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
