/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rdma_bench.h.
 */
#include "tests/unit/t.h"

#include <stdlib.h>

#include "core/base/mem.h"
#include "tests/unit/rdma_bench.h"
#include "transport/rdma/lane.h"

struct rdma_bench *rdma_bench_open(const struct fake_rail *rails, size_t n,
				   unsigned plain_peers)
{
	struct rdma_bench *b = wfs_calloc(1, sizeof(*b));
	uint8_t id[WFS_WIRE_ID_BYTES];

	fake_rdma_open(rails, n);
	b->fetch = fetch_bench_open(plain_peers, 0);
	b->seed.stock = (struct rdma_stock){ .count = 1,
					     .size = SIZE,
					     .bytes = b->fetch->bytes };
	rdma_seed_open(&b->seed);
	rdma_seed_await(&b->seed, 1, 0);
	assert_int_equal(wfs_peer_add(b->fetch->fetch, "seed-rdma",
				      &wfs_rdma_lane_ops, b->seed.peer,
				      RDMA_LANES, &b->peer),
			 0);
	for (unsigned i = 0; i < plain_peers; i++)
		wfs_peer_prefer(b->peer, b->fetch->peers[i]);
	rdma_seed_name(id, 0);
	wfs_far_hold(b->fetch->far, b->peer, id);
	return b;
}

void rdma_bench_close(struct rdma_bench *b)
{
	fetch_bench_close(b->fetch);
	rdma_seed_close(&b->seed);
	fake_rdma_close();
	free(b);
}

void rdma_bench_reads(struct rdma_bench *b, uint64_t off, size_t len)
{
	fetch_bench_reads(b->fetch, off, len);
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
