/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch that may read a seed's memory over FAKE devices, and besides has
 * plain peers with the same file.
 */
#ifndef WFS_TESTS_UNIT_RDMA_BENCH_H
#define WFS_TESTS_UNIT_RDMA_BENCH_H

#include "tests/unit/fetch_fixture.h"
#include "tests/unit/rdma_seed.h"

#define RDMA_LANES 4

struct rdma_bench {
	struct fetch_bench *fetch; /* its fakes: the plain peers */
	struct rdma_seed seed;
	struct wfs_peer *peer; /* by RDMA */
	/* SIZE bytes that stay, as a file of the arena does while it fills. */
	uint8_t *ground;
	bool lands; /* reads go there */
};

/* A world of FAKE devices with all of it.  `rails` as fake_rdma_open. */
struct rdma_bench *rdma_bench_open(const struct fake_rail *rails, size_t n,
				   unsigned plain_peers);
/* The same, of memory that the seed lends. */
struct rdma_bench *rdma_bench_open_lent(const struct fake_rail *rails, size_t n,
					const struct rdma_lent *lent,
					unsigned plain_peers);
/* Also the world; asserts that nothing is left of it. */
void rdma_bench_close(struct rdma_bench *b);

/* Asserts that a read gives the right bytes, in the ground where it lands. */
void rdma_bench_reads(struct rdma_bench *b, uint64_t off, size_t len);
/* … and that RDMA is what brought them, all of them. */
void rdma_bench_reads_by_rdma(struct rdma_bench *b, uint64_t off, size_t len);
struct wfs_peer_stats rdma_bench_stats(struct rdma_bench *b);

#endif
