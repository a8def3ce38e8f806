/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rdma_bench.h.
 */
#include "tests/unit/t.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/mem.h"
#include "core/base/stretch.h"
#include "core/digest/digests.h"
#include "tests/unit/rdma_bench.h"
#include "transport/rdma/lane.h"

/* The fixture's bytes are always the same, and slow to digest. */
static const uint8_t *digests_of(const uint8_t *bytes)
{
	static uint8_t all[SIZE / WFS_CHUNK + 1][WFS_WIRE_HASH_SIZE];
	static bool known;

	for (uint64_t i = 0; !known && i < wfs_chunk_count(SIZE); i++)
		wfs_digest_bytes(WFS_XXH3_128, bytes + i * WFS_CHUNK,
				 wfs_chunk_len(SIZE, i), all[i]);
	known = true;
	return all[0];
}

static struct rdma_bench *open_bench(const struct fake_rail *rails, size_t n,
				     const struct rdma_lent *lent,
				     unsigned plain_peers)
{
	struct rdma_bench *b = wfs_calloc(1, sizeof(*b));
	uint8_t id[WFS_WIRE_ID_BYTES];

	fake_rdma_open(rails, n);
	b->fetch = fetch_bench_open(plain_peers, 0);
	b->seed.lent = lent;
	b->seed.stock = (struct rdma_stock){ .count = 1,
					     .size = SIZE,
					     .bytes = b->fetch->bytes };
	b->seed.stock.digests = digests_of(b->fetch->bytes);
	rdma_seed_open(&b->seed);
	rdma_seed_await(&b->seed, lent ? 0 : 1, 0);
	assert_int_equal(wfs_peer_add(b->fetch->fetch, "seed-rdma",
				      &wfs_rdma_lane_ops, b->seed.peer,
				      RDMA_LANES, &b->peer),
			 0);
	for (unsigned i = 0; i < plain_peers; i++)
		wfs_peer_prefer(b->peer, b->fetch->peers[i]);
	rdma_seed_name(id, 0);
	wfs_far_hold(b->fetch->far, b->peer, id);
	b->ground = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(b->ground, MAP_FAILED);
	wfs_stretch_add(b->ground, SIZE);
	return b;
}

struct rdma_bench *rdma_bench_open(const struct fake_rail *rails, size_t n,
				   unsigned plain_peers)
{
	return open_bench(rails, n, NULL, plain_peers);
}

struct rdma_bench *rdma_bench_open_lent(const struct fake_rail *rails, size_t n,
					const struct rdma_lent *lent,
					unsigned plain_peers)
{
	return open_bench(rails, n, lent, plain_peers);
}

void rdma_bench_close(struct rdma_bench *b)
{
	wfs_stretch_remove(b->ground);
	munmap(b->ground, SIZE);
	/* It may be filling its memory again from the fetch's bytes. */
	wfs_exporter_stop(b->seed.exporter);
	fetch_bench_close(b->fetch);
	rdma_seed_close(&b->seed);
	fake_rdma_close();
	free(b);
}

void rdma_bench_reads(struct rdma_bench *b, uint64_t off, size_t len)
{
	if (!b->lands) {
		fetch_bench_reads(b->fetch, off, len);
		return;
	}
	memset(b->ground + off, 0x5a, len);
	assert_int_equal(wfs_far_read(b->fetch->far, b->ground + off, len, off),
			 0);
	assert_memory_equal(b->ground + off, b->fetch->bytes + off, len);
}

void rdma_bench_reads_by_rdma(struct rdma_bench *b, uint64_t off, size_t len)
{
	uint64_t before = rdma_bench_stats(b).chunks;

	rdma_bench_reads(b, off, len);
	assert_int_equal(rdma_bench_stats(b).chunks - before,
			 (off + len - 1) / WFS_CHUNK - off / WFS_CHUNK + 1);
}

struct wfs_peer_stats rdma_bench_stats(struct rdma_bench *b)
{
	struct wfs_peer_stats stats;

	wfs_peer_stats(b->peer, &stats);
	return stats;
}
