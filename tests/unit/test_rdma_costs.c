/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a chunk costs that comes by RDMA: no memory is allocated for it, be it
 * read to where it belongs or copied there.  The Makefile has this program's
 * allocations go by here.
 */
#include "tests/unit/t.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/stretch.h"
#include "tests/unit/rdma_bench.h"

#define SOME   (8 * WFS_CHUNK)
#define ROUNDS 20

static atomic_uint allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __real_realloc(old, size);
}

/* Of one read; the device's own do not count. */
static unsigned count_once(struct rdma_bench *b)
{
	unsigned own = fake_rdma_count(FAKE_ALLOCATIONS);
	unsigned before = atomic_load(&allocations);

	assert_int_equal(wfs_far_read(b->fetch->far, b->ground, SOME, 0), 0);
	return atomic_load(&allocations) - before -
	       (fake_rdma_count(FAKE_ALLOCATIONS) - own);
}

/* What the seed does now and then, in the same process, is not in all rounds. */
static unsigned least(struct rdma_bench *b)
{
	unsigned least = UINT32_MAX;

	for (unsigned i = 0; i < ROUNDS && least; i++) {
		unsigned n = count_once(b);

		least = n < least ? n : least;
	}
	return least;
}

static void a_chunk_allocates_nothing(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);

	(void)state;
	assert_true(atomic_load(&allocations) > 0); /* they do go by here */
	rdma_bench_reads_by_rdma(b, 0, SOME);
	assert_int_equal(least(b), 0);
	rdma_bench_close(b);
}

static void nor_does_one_that_is_copied(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);

	(void)state;
	wfs_stretch_remove(b->ground);
	rdma_bench_reads_by_rdma(b, 0, SOME);
	assert_int_equal(least(b), 0);
	wfs_stretch_add(b->ground, SIZE);
	rdma_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_chunk_allocates_nothing),
		T(nor_does_one_that_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
