/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that land in memory which stays, as a file of the arena that is being
 * filled, over FAKE devices.
 */
#include "tests/unit/t.h"

#include <string.h>
#include <sys/mman.h>

#include "core/base/stretch.h"
#include "tests/unit/rdma_bench.h"

#define BIG (WFS_CHUNK / 2) /* of a chunk's READ, not of its digest's */

/* A file as the store has it: mapped, filled, and not to be written again. */
struct file {
	struct rdma_bench *b;
	uint8_t *map;
};

static struct file file_open(struct rdma_bench *b)
{
	struct file file = { .b = b };

	file.map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(file.map, MAP_FAILED);
	wfs_stretch_add(file.map, SIZE);
	return file;
}

/* All of it, in reads that follow each other. */
static void file_fill(struct file *file, uint64_t step)
{
	for (uint64_t off = 0; off < SIZE; off += step) {
		uint64_t len = SIZE - off < step ? SIZE - off : step;

		assert_int_equal(wfs_far_read(file->b->fetch->far,
					      file->map + off, len, off),
				 0);
	}
}

/* Whoever was to write there does so no more. */
static void file_close(struct file *file, unsigned registered)
{
	assert_int_equal(fake_rdma_live_of("mr"), registered);
	assert_memory_equal(file->map, file->b->fetch->bytes, SIZE);
	wfs_stretch_remove(file->map);
	munmap(file->map, SIZE);
}

static void a_file_is_filled_in_place_and_registered_once(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 0);
	const unsigned seeds = 1; /* its memory, once it was asked */

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct file file = file_open(b);

		file_fill(&file, 5 * WFS_CHUNK);
		/* The file and a block of the slab. */
		file_close(&file, seeds + 2);
		assert_int_equal(fake_rdma_live_of("mr"), seeds + 1);
	}
	rdma_bench_close(b);
}

static void devices_that_allow_little_fill_it_too(void **state)
{
	static const struct fake_rail rails[] = {
		{ .reads = 1 },
		{ .reads = 2 },
		{ .reads = 3, .reads_init = 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rails) / sizeof(rails[0]); i++) {
		struct rdma_bench *b = rdma_bench_open(&rails[i], 1, 0);
		struct file file = file_open(b);
		const unsigned seeds = 1; /* its memory, once it was asked */

		file_fill(&file, SIZE);
		file_close(&file, seeds + 2);
		assert_int_equal(fake_rdma_count(FAKE_FAILS), 0);
		rdma_bench_close(b);
	}
}

/*
 * A READ hangs with half a chunk in the file, another seed brings the chunk:
 * when that is read nothing writes there any more, whatever is released then.
 */
static void what_comes_late_is_not_written_to_the_file(void **state)
{
	struct rdma_bench *b = rdma_bench_open(NULL, 1, 1);
	const struct fake_fault fault = { .kind = FAKE_HELD,
					  .device = FAKE_ANY,
					  .least = BIG,
					  .skip = 3,
					  .times = 2 };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct file file = file_open(b);

		fake_rdma_inject(&fault);
		file_fill(&file, SIZE);
		assert_memory_equal(file.map, b->fetch->bytes, SIZE);
		wfs_stretch_remove(file.map);
		fake_rdma_release();
		assert_memory_equal(file.map, b->fetch->bytes, SIZE);
		munmap(file.map, SIZE);
		fake_rdma_heal();
		rdma_bench_reads(b, 0, SIZE);
	}
	assert_int_equal(rdma_bench_stats(b).wrong, 0);
	rdma_bench_close(b);
}

static void what_cannot_be_registered_is_copied(void **state)
{
	/* Room for a block of the slab, and not for the file. */
	const struct fake_rail rail = { .lockable = 38 * WFS_CHUNK +
						    40 * WFS_CHUNK };
	struct rdma_bench *b = rdma_bench_open(&rail, 1, 0);
	const unsigned seeds = 1; /* its memory, once it was asked */
	struct file file = file_open(b);

	(void)state;
	file_fill(&file, SIZE);
	file_close(&file, seeds + 1);
	rdma_bench_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_is_filled_in_place_and_registered_once),
		T(devices_that_allow_little_fill_it_too),
		T(what_comes_late_is_not_written_to_the_file),
		T(what_cannot_be_registered_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
