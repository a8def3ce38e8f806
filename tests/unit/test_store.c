/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: acquiring, hydrating, waiting, failing.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
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

static void bytes_of_pieces_are_right(void **state)
{
	struct wfs_piece pieces[3];
	struct wfs_recipe recipe = { .n = 3, .pieces = pieces };
	struct sleeper sleeper;
	uint64_t wait_ns;
	struct bench b;
	uint8_t *bytes;
	int fd;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	pieces[0] = (struct wfs_piece){ .kind = WFS_PIECE_CONST,
					.pattern_len = 2,
					.pattern = { 1, 2 },
					.run = 3 * MIB,
					.count = 1 };
	pieces[1] = (struct wfs_piece){ .kind = WFS_PIECE_REGION,
					.region = &b.src->region,
					.off = 8,
					.run = 1024,
					.stride = 4096,
					.count = 8192 };
	pieces[2] = (struct wfs_piece){ .kind = WFS_PIECE_ZERO,
					.run = 5,
					.count = 1 };
	recipe.size = 11 * MIB + 5;
	sleeper_init(&sleeper);
	assert_int_equal(wfs_store_acquire(b.store, 1, &recipe, &sleeper.waiter,
					   &wait_ns),
			 -EINPROGRESS);
	fd = fake_kernel_open(&b.kernel, sleeper_wait(&sleeper));
	bytes = mmap(NULL, recipe.size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(bytes != MAP_FAILED);
	for (uint64_t i = 0; i < 3 * MIB; i++)
		assert_int_equal(bytes[i], 1 + i % 2);
	for (uint64_t i = 0; i < 8192; i++)
		assert_int_equal(pattern_check(bytes + 3 * MIB + i * 1024, 1024,
					       8 + i * 4096),
				 -1);
	for (uint64_t i = 11 * MIB; i < recipe.size; i++)
		assert_int_equal(bytes[i], 0);
	munmap(bytes, recipe.size);
	close(fd);
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

		assert_int_equal(bench_start(&b, 7, &slice, &sleepers[i],
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
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.hydrated_files, 1);
	assert_int_equal(stats.pinned_files, 1);
	assert_int_equal(atomic_load(&b.src->reads), 4);
	for (int i = 0; i < N; i++) {
		assert_int_equal(sleeper_calls(&sleepers[i]), 1);
		wfs_store_release(b.store, 7);
	}
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.pinned_files, 0);
	/* One release too many does no harm. */
	wfs_store_release(b.store, 7);
	wfs_store_release(b.store, 8);
	bench_close(&b);
}

static void acquire_without_a_waiter_hydrates_all_the_same(void **state)
{
	struct slice slice;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 4096);
	assert_int_equal(wfs_store_acquire(b.store, 1, &slice.recipe, NULL,
					   NULL),
			 -EINPROGRESS);
	bench_acquire_right(&b, 1, 0, 4096);
	assert_int_equal(b.kernel.exposed, 1);
	bench_close(&b);
}

static void all_space_is_allocated_before_the_first_byte(void **state)
{
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 20 * MIB);
	gated_source_gate(b.src, 0);
	bench_start(&b, 1, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	assert_int_equal(bench_used(&b), 20 * MIB);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	assert_int_equal(bench_used(&b), 20 * MIB);
	bench_close(&b);
}

static void a_cancelled_waiter_is_never_called(void **state)
{
	struct sleeper first, second, third;
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, MIB);
	gated_source_gate(b.src, 0);
	bench_start(&b, 1, &slice, &first, &wait_ns);
	bench_start(&b, 1, &slice, &second, &wait_ns);
	bench_start(&b, 1, &slice, &third, &wait_ns);
	assert_true(wfs_store_cancel(b.store, &third.waiter));
	assert_false(wfs_store_cancel(b.store, &third.waiter));
	assert_true(wfs_store_cancel(b.store, &first.waiter));
	bench_start(&b, 1, &slice, &first, &wait_ns);
	assert_true(wfs_store_cancel(b.store, &first.waiter));
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&second) > 0);
	assert_false(wfs_store_cancel(b.store, &second.waiter));
	/* Exactly one of the three holds it. */
	wfs_store_release(b.store, 1);
	assert_int_equal(wfs_store_evict(b.store, 0, 0, false), MIB);
	assert_int_equal(sleeper_calls(&first), 0);
	assert_int_equal(sleeper_calls(&third), 0);
	bench_close(&b);
}

static void a_source_that_fails_fails_its_waiters_and_may_recover(void **state)
{
	struct wfs_store_stats stats;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	atomic_store(&b.src->fail_read, -EIO);
	assert_int_equal(bench_acquire(&b, 1, 0, 4096), -EIO);
	assert_int_equal(bench_acquire(&b, 2, 0, 40 * MIB), -EIO);
	assert_int_equal(bench_used(&b), 0);
	wfs_store_stats(b.store, &stats);
	assert_int_equal(stats.failed, 2);
	assert_int_equal(stats.resident_files, 0);
	atomic_store(&b.src->fail_read, 0);
	bench_acquire_right(&b, 1, 0, 4096);
	bench_acquire_right(&b, 2, 0, 40 * MIB);
	bench_close(&b);
}

static void a_source_that_changed_before_the_copy_is_stale(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	atomic_store(&b.src->fail_check, -ESTALE);
	assert_int_equal(bench_acquire(&b, 1, 0, 4096), -ESTALE);
	assert_int_equal(atomic_load(&b.src->reads), 0);
	assert_int_equal(bench_used(&b), 0);
	bench_close(&b);
}

static void a_source_that_changed_during_the_copy_is_stale(void **state)
{
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 4 * MIB);
	gated_source_gate(b.src, 2 * MIB);
	bench_start(&b, 1, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 1);
	atomic_store(&b.src->fail_check, -ESTALE);
	gated_source_gate(b.src, GATE_OPEN);
	assert_int_equal(sleeper_wait(&sleeper), -ESTALE);
	assert_int_equal(b.kernel.exposed, 0);
	assert_int_equal(bench_used(&b), 0);
	bench_close(&b);
}

static void a_file_that_cannot_be_exposed_is_dropped(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	b.kernel.fail = -EOPNOTSUPP;
	assert_int_equal(bench_acquire(&b, 1, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(bench_used(&b), 0);
	b.kernel.fail = 0;
	bench_acquire_right(&b, 1, 0, 4096);
	bench_close(&b);
}

static void an_exposed_file_cannot_be_written(void **state)
{
	char path[64];
	struct bench b;
	int id, fd;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	id = bench_acquire_right(&b, 1, 0, 4 * MIB);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b.kernel.fds[id]);
	assert_int_equal(fcntl(b.kernel.fds[id], F_GETFL) & O_ACCMODE,
			 O_RDONLY);
	assert_int_equal(open(path, O_RDWR), -1);
	assert_int_equal(errno, EROFS);
	fd = fake_kernel_open(&b.kernel, id);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0),
			 MAP_FAILED);
	close(fd);
	/* Nobody has it open for writing, the store itself included. */
	assert_int_equal(fcntl(b.kernel.fds[id], F_SETLEASE, F_RDLCK), 0);
	assert_int_equal(fcntl(b.kernel.fds[id], F_SETLEASE, F_UNLCK), 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_of_every_size_are_right),
		T(bytes_of_pieces_are_right),
		T(one_hydration_however_many_acquire),
		T(acquire_without_a_waiter_hydrates_all_the_same),
		T(all_space_is_allocated_before_the_first_byte),
		T(a_cancelled_waiter_is_never_called),
		T(a_source_that_fails_fails_its_waiters_and_may_recover),
		T(a_source_that_changed_before_the_copy_is_stale),
		T(a_source_that_changed_during_the_copy_is_stale),
		T(a_file_that_cannot_be_exposed_is_dropped),
		T(an_exposed_file_cannot_be_written),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
