/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch that reads memory that its owner changes, over FAKE devices: the
 * bytes of the fixture's file in pieces, the last one first.
 */
#ifndef WFS_TESTS_UNIT_RDMA_LIVE_H
#define WFS_TESTS_UNIT_RDMA_LIVE_H

#include "core/digest/digests.h"
#include "tests/unit/rdma_bench.h"

#define PIECE  700001ull /* bytes of most pieces */
#define PIECES (SIZE / PIECE + 1)
#define ROOM   (PIECE + 63) /* that one has */
#define EPOCH  4

struct rdma_live {
	struct rdma_bench *b;
	uint8_t *pool;
	struct wfs_live_piece pieces[PIECES];
	atomic_ullong epoch;
	struct rdma_lent lent;
};

/* `rails` as fake_rdma_open. */
struct rdma_live *rdma_live_open(const struct fake_rail *rails, size_t n,
				 unsigned plain_peers);
void rdma_live_close(struct rdma_live *w);

#endif
