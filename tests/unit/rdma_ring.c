/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rdma_ring.h.
 */
#include "tests/unit/t.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/rdma_ring.h"

#define ADDRESS 0x7f0000000000ull /* as a GPU has it, nothing of ours */

struct ring ring_open(void)
{
	int fd = memfd_create("FAKE device memory", MFD_CLOEXEC);
	struct ring ring;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)RING_BYTES), 0);
	ring.bytes = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			  fd, 0);
	assert_ptr_not_equal(ring.bytes, MAP_FAILED);
	memset(ring.bytes, BLANK, RING_BYTES);
	ring.ring = wfs_landing_ring_new(fd, ADDRESS, RING_BYTES);
	return ring;
}

void ring_close(struct ring *ring)
{
	if (ring->ring)
		wfs_landing_ring_end(ring->ring);
	wfs_landing_ring_put(ring->ring);
	munmap(ring->bytes, RING_BYTES);
}

int ring_land(const struct rdma_live *w, const struct ring *ring, uint64_t at,
	      size_t len, uint64_t off)
{
	struct wfs_landing landing = { .ring = ring->ring, .at = at };

	return wfs_far_land(w->b->fetch->far, &landing, len, off);
}

void assert_blank(const struct ring *ring, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		if (ring->bytes[i] != BLANK)
			fail_msg("written at %llu", (unsigned long long)i);
}

void ring_lands(const struct rdma_live *w, struct ring *ring, uint64_t at,
		size_t len, uint64_t off)
{
	memset(ring->bytes, BLANK, RING_BYTES);
	assert_int_equal(ring_land(w, ring, at, len, off), 0);
	assert_memory_equal(ring->bytes + at, w->b->fetch->bytes + off, len);
	assert_blank(ring, 0, at);
	assert_blank(ring, at + len, RING_BYTES);
}
