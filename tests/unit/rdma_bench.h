/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch that may read a seed's memory over FAKE devices: the exporter, and
 * what the control channel says of it, in one process; besides it plain peers
 * that have the same file.
 */
#ifndef WFS_TESTS_UNIT_RDMA_BENCH_H
#define WFS_TESTS_UNIT_RDMA_BENCH_H

#include "tests/unit/fake_rdma.h"
#include "tests/unit/fetch_fixture.h"
#include "transport/rdma/export.h"
#include "transport/rdma/peer.h"

#define RDMA_LANES 2

/* What a seed has: `count` files of `size` bytes. */
struct rdma_stock {
	size_t count;
	uint64_t size;
	const uint8_t *bytes; /* all have the same */
	atomic_bool gone;     /* none is listed */
};
struct rdma_bench {
	struct fetch_bench *fetch; /* its fakes: the plain peers */
	struct rdma_stock stock;
	struct wfs_exporter *exporter;
	struct wfs_rdma_peer *memory;
	struct wfs_peer *peer; /* by RDMA */
	atomic_uint asked;     /* for /v1/rdma */
	atomic_bool mute;      /* it does not answer */
};

/* A world of FAKE devices with all of it.  `rails` as fake_rdma_open. */
struct rdma_bench *rdma_bench_open(const struct fake_rail *rails, size_t n,
				   unsigned plain_peers);
/* Also the world; asserts that nothing is left of it. */
void rdma_bench_close(struct rdma_bench *b);

/* Asserts that a read of it gives the right bytes. */
void rdma_bench_reads(struct rdma_bench *b, uint64_t off, size_t len);
/* … and that RDMA is what brought them, all of them. */
void rdma_bench_reads_by_rdma(struct rdma_bench *b, uint64_t off, size_t len);
struct wfs_peer_stats rdma_bench_stats(struct rdma_bench *b);

/* The exporter alone. */
struct wfs_exporter *rdma_exporter_open(struct rdma_stock *stock,
					uint64_t memory, uint64_t lease_ns);
/* Until so many are registered. */
void rdma_exporter_await(struct wfs_exporter *exporter, uint64_t regions);

#endif
