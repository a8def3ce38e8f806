/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rdma_live.h.
 */
#include "tests/unit/t.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/mem.h"
#include "tests/unit/rdma_live.h"

struct rdma_live *rdma_live_open(const struct fake_rail *rails, size_t n,
				 unsigned plain_peers)
{
	struct rdma_live *w = wfs_calloc(1, sizeof(*w));

	w->pool = mmap(NULL, PIECES * ROOM, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->pool, MAP_FAILED);
	for (size_t i = 0; i < PIECES; i++)
		w->pieces[i] = (struct wfs_live_piece){
			.off = i * PIECE,
			.len = i + 1 < PIECES ? PIECE : SIZE - i * PIECE,
			.at = w->pool + (PIECES - 1 - i) * ROOM,
		};
	atomic_init(&w->epoch, EPOCH);
	w->lent = (struct rdma_lent){
		.span = { (uintptr_t)w->pool,
			  (uintptr_t)w->pool + PIECES * ROOM },
		.memory = { EPOCH, &w->epoch, w->pieces, PIECES },
		.size = SIZE,
	};
	w->b = rdma_bench_open_lent(rails, n, &w->lent, plain_peers);
	for (size_t i = 0; i < PIECES; i++)
		memcpy((void *)(uintptr_t)w->pieces[i].at,
		       w->b->fetch->bytes + w->pieces[i].off, w->pieces[i].len);
	return w;
}

void rdma_live_close(struct rdma_live *w)
{
	wfs_exporter_take_back(w->b->seed.exporter, &w->epoch);
	rdma_bench_close(w->b);
	munmap(w->pool, PIECES * ROOM);
	free(w);
}
