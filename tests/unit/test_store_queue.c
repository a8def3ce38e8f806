/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what is hydrated first, how long it takes, how it ends.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>

#include "core/base/text.h"
#include "tests/unit/store_fixture.h"

static void a_prefetch_comes_after_what_is_wanted(void **state)
{
	const struct wfs_store_config config = { .arena_size = 64 * MIB,
						 .hydrators = 1 };
	struct sleeper first, second;
	struct slice slices[3];
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open_config(&b, &config, 64 * MIB);
	for (unsigned i = 0; i < 3; i++)
		slice_init(&slices[i], b.src, i * 8 * MIB, MIB);
	gated_source_gate(b.src, 0);
	bench_start(&b, 0, &slices[0], &first, &wait_ns);
	gated_source_await(b.src, 1);
	assert_int_equal(wfs_store_prefetch(b.store, 2, &slices[2].recipe), 0);
	assert_int_equal(wfs_store_prefetch(b.store, 2, &slices[2].recipe), 0);
	bench_start(&b, 1, &slices[1], &second, &wait_ns);
	/* Were the prefetch next, it would hang, and so would the second. */
	gated_source_gate(b.src, 9 * MIB);
	assert_true(sleeper_wait(&first) > 0);
	assert_true(sleeper_wait(&second) > 0);
	gated_source_await(b.src, 1);
	gated_source_gate(b.src, GATE_OPEN);
	bench_acquire_right(&b, 2, 16 * MIB, MIB);
	bench_close(&b);
}

static void a_prefetch_that_becomes_wanted_is_promoted(void **state)
{
	const struct wfs_store_config config = { .arena_size = 64 * MIB,
						 .hydrators = 1 };
	struct sleeper first, promoted;
	struct slice slices[4];
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open_config(&b, &config, 64 * MIB);
	for (unsigned i = 0; i < 4; i++)
		slice_init(&slices[i], b.src, i * 8 * MIB, MIB);
	gated_source_gate(b.src, 0);
	bench_start(&b, 0, &slices[0], &first, &wait_ns);
	gated_source_await(b.src, 1);
	for (unsigned i = 3; i > 0; i--)
		assert_int_equal(
			wfs_store_prefetch(b.store, i, &slices[i].recipe), 0);
	bench_start(&b, 1, &slices[1], &promoted, &wait_ns);
	/* The others, which were queued before it, would hang. */
	gated_source_gate(b.src, 9 * MIB);
	assert_true(sleeper_wait(&first) > 0);
	assert_true(sleeper_wait(&promoted) > 0);
	gated_source_await(b.src, 1);
	gated_source_gate(b.src, GATE_OPEN);
	bench_close(&b);
}

static void prefetches_leave_a_thread_for_what_is_wanted(void **state)
{
	struct slice slices[4];
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB); /* two threads */
	for (unsigned i = 0; i < 4; i++) {
		slice_init(&slices[i], b.src, (i + 1) * 8 * MIB, MIB);
		gated_source_gate(b.src, 8 * MIB);
		assert_int_equal(
			wfs_store_prefetch(b.store, i, &slices[i].recipe), 0);
	}
	gated_source_await(b.src, 1);
	/* The source of all prefetches hangs; this one's does not. */
	bench_acquire_right(&b, 9, 0, MIB);
	gated_source_gate(b.src, GATE_OPEN);
	bench_acquire_right(&b, 3, 32 * MIB, MIB);
	bench_close(&b);
}

static void several_threads_copy_one_large_file(void **state)
{
	struct sleeper sleeper;
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	slice_init(&slice, b.src, 0, 40 * MIB);
	gated_source_gate(b.src, 0);
	bench_start(&b, 1, &slice, &sleeper, &wait_ns);
	gated_source_await(b.src, 2);
	gated_source_gate(b.src, GATE_OPEN);
	assert_true(sleeper_wait(&sleeper) > 0);
	bench_acquire_right(&b, 1, 0, 40 * MIB);
	assert_int_equal(b.kernel.exposed, 1);
	bench_close(&b);
}

static void the_predicted_wait_grows_with_what_is_queued(void **state)
{
	struct sleeper sleepers[4];
	struct slice slices[4];
	uint64_t waits[4], again;
	struct bench b;

	(void)state;
	bench_open(&b, 256 * MIB, 256 * MIB);
	gated_source_gate(b.src, 0);
	for (unsigned i = 0; i < 4; i++) {
		slice_init(&slices[i], b.src, i * 32 * MIB, 32 * MIB);
		assert_int_equal(bench_start(&b, i, &slices[i], &sleepers[i],
					     &waits[i]),
				 -EINPROGRESS);
		assert_true(waits[i] > 0);
		assert_true(i == 0 || waits[i] > waits[i - 1]);
	}
	/* Before anything was measured 1 GB/s is assumed, or less. */
	assert_true(waits[0] >= 32 * MIB);
	assert_int_equal(wfs_store_acquire(b.store, 3, &slices[3].recipe, NULL,
					   &again),
			 -EINPROGRESS);
	assert_true(again > waits[0]);
	gated_source_gate(b.src, GATE_OPEN);
	for (unsigned i = 0; i < 4; i++)
		assert_true(sleeper_wait(&sleepers[i]) > 0);
	bench_close(&b);
}

static void detach_ends_every_wait(void **state)
{
	enum { N = 20 };
	struct sleeper sleepers[N];
	struct slice slice;
	uint64_t wait_ns;
	struct bench b;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	bench_acquire_right(&b, 100, 0, 4096);
	for (unsigned i = 0; i < N; i++) {
		slice_init(&slice, b.src, 0, i % 2 ? 4096 : MIB + i);
		assert_int_equal(bench_start(&b, i, &slice, &sleepers[i],
					     &wait_ns),
				 -EINPROGRESS);
	}
	wfs_store_detach(b.store);
	for (unsigned i = 0; i < N; i++) {
		/* Some were done before; nobody is forgotten or asked twice. */
		assert_int_equal(sleeper_calls(&sleepers[i]), 1);
		assert_true(sleepers[i].result > 0 ||
			    sleepers[i].result == -ESHUTDOWN);
	}
	assert_int_equal(fake_kernel_live(&b.kernel), 0);
	assert_int_equal(bench_used(&b), 0);
	assert_int_equal(bench_acquire(&b, 1, 0, 4096), -ESHUTDOWN);
	assert_int_equal(wfs_store_prefetch(b.store, 1, &slice.recipe),
			 -ESHUTDOWN);
	wfs_store_detach(b.store);
	bench_close(&b);
}

struct detaching {
	struct bench b;
	struct slice slice;
	struct sleeper sleeper, queued;
};

static void *detach_thread(void *ctx)
{
	struct detaching *d = ctx;

	wfs_store_detach(d->b.store);
	return NULL;
}

static void detach_waits_for_a_copy_under_way(void **state)
{
	struct detaching d;
	pthread_t thread;
	uint64_t wait_ns;

	(void)state;
	bench_open(&d.b, 64 * MIB, 64 * MIB);
	slice_init(&d.slice, d.b.src, 0, 40 * MIB);
	gated_source_gate(d.b.src, 0);
	bench_start(&d.b, 1, &d.slice, &d.sleeper, &wait_ns);
	gated_source_await(d.b.src, 2);
	bench_start(&d.b, 2, &d.slice, &d.queued, &wait_ns);
	assert_int_equal(pthread_create(&thread, NULL, detach_thread, &d), 0);
	/* What has not begun is told at once. */
	assert_int_equal(sleeper_wait(&d.queued), -ESHUTDOWN);
	assert_int_equal(sleeper_calls(&d.sleeper), 0);
	gated_source_gate(d.b.src, GATE_OPEN);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sleeper_calls(&d.sleeper), 1);
	assert_int_equal(d.sleeper.result, -ESHUTDOWN);
	assert_int_equal(bench_used(&d.b), 0);
	/* Another session may follow. */
	fake_kernel_free(&d.b.kernel);
	wfs_store_attach(d.b.store, fake_kernel_init(&d.b.kernel));
	bench_acquire_right(&d.b, 1, 0, 40 * MIB);
	bench_close(&d.b);
}

static void nothing_is_hydrated_before_attach(void **state)
{
	struct slice slice;
	struct bench b;
	char byte;

	(void)state;
	bench_open(&b, 64 * MIB, 64 * MIB);
	wfs_store_detach(b.store);
	slice_init(&slice, b.src, 0, 4096);
	assert_int_equal(bench_acquire(&b, 1, 0, 4096), -ESHUTDOWN);
	assert_int_equal(wfs_store_read(b.store, 1, &slice.recipe, &byte, 1, 0),
			 1);
	bench_close(&b);
	wfs_store_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_prefetch_comes_after_what_is_wanted),
		T(a_prefetch_that_becomes_wanted_is_promoted),
		T(prefetches_leave_a_thread_for_what_is_wanted),
		T(several_threads_copy_one_large_file),
		T(the_predicted_wait_grows_with_what_is_queued),
		T(detach_ends_every_wait),
		T(detach_waits_for_a_copy_under_way),
		T(nothing_is_hydrated_before_attach),
	};

	return cmocka_run_group_tests_name("store_queue", tests, NULL, NULL);
}
