/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rdma_bench.h.
 */
#include "tests/unit/t.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "tests/unit/rdma_bench.h"
#include "transport/rdma/lane.h"

static const char name[WFS_WIRE_ID_BYTES] = "region";

/* The first is what the fetch calls it; others differ at the end. */
static void name_region(uint8_t id[WFS_WIRE_ID_BYTES], size_t index)
{
	memcpy(id, name, WFS_WIRE_ID_BYTES);
	id[WFS_WIRE_ID_BYTES - 1] = (uint8_t)index;
}

static size_t list_stock(void *ctx, struct wfs_wire_region **ret_regions)
{
	struct rdma_stock *stock = ctx;
	size_t n = atomic_load(&stock->gone) ? 0 : stock->count;

	*ret_regions = wfs_calloc(n + 1, sizeof(**ret_regions));
	for (size_t i = 0; i < n; i++) {
		(*ret_regions)[i].size = stock->size;
		name_region((*ret_regions)[i].id, i);
	}
	return n;
}

static int read_stock(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
		      uint64_t off, uint32_t len, void *buf,
		      uint8_t ret_digest[WFS_WIRE_HASH_SIZE])
{
	const struct rdma_stock *stock = ctx;

	(void)id;
	memcpy(buf, stock->bytes + off, len);
	wfs_digest_bytes(WFS_XXH3_128, buf, len, ret_digest);
	return 0;
}

struct wfs_exporter *rdma_exporter_open(struct rdma_stock *stock,
					uint64_t memory, uint64_t lease_ns)
{
	const struct wfs_export_stock ops = { .ctx = stock,
					      .list = list_stock,
					      .read = read_stock };
	const struct wfs_export_config config = { .stock = &ops,
						  .memory = memory,
						  .lease_ns = lease_ns };
	struct wfs_exporter *exporter;
	struct wfs_err err = { 0 };

	if (wfs_exporter_open(&config, &exporter, &err) ||
	    wfs_exporter_start(exporter, &err))
		fail_msg("%s", err.text);
	return exporter;
}

void rdma_exporter_await(struct wfs_exporter *exporter, uint64_t regions)
{
	struct wfs_export_stats stats;

	do {
		wfs_exporter_stats(exporter, &stats);
		usleep(1000);
	} while (stats.regions != regions);
}

static int get(void *ctx, const char *path, const atomic_bool *stop,
	       char **ret_text, size_t *ret_len, struct wfs_err *err)
{
	static const char padding[WFS_JSON_PADDING];
	struct rdma_bench *b = ctx;
	struct wfs_text text = { 0 };
	const char *session = strstr(path, "session=");

	if (atomic_load(stop) || atomic_load(&b->mute))
		return wfs_err_set(err, -ETIMEDOUT, "it does not answer");
	atomic_fetch_add(&b->asked, 1);
	wfs_exporter_tell(b->exporter,
			  session ? strtoull(session + 8, NULL, 10) : 0, &text);
	*ret_len = text.len;
	wfs_text_add_bytes(&text, padding, sizeof(padding));
	*ret_text = text.data;
	return 0;
}

struct rdma_bench *rdma_bench_open(const struct fake_rail *rails, size_t n,
				   unsigned plain_peers)
{
	struct rdma_bench *b = wfs_calloc(1, sizeof(*b));
	const struct wfs_control control = { .label = "seed-rdma",
					     .get = get,
					     .ctx = b };

	fake_rdma_open(rails, n);
	b->fetch = fetch_bench_open(plain_peers, 0);
	b->stock = (struct rdma_stock){ .count = 1,
					.size = SIZE,
					.bytes = b->fetch->bytes };
	b->exporter = rdma_exporter_open(&b->stock, 4 * SIZE, 0);
	rdma_exporter_await(b->exporter, 1);
	b->memory = wfs_rdma_peer_new(&control);
	assert_int_equal(wfs_peer_add(b->fetch->fetch, "seed-rdma",
				      &wfs_rdma_lane_ops, b->memory, RDMA_LANES,
				      &b->peer),
			 0);
	for (unsigned i = 0; i < plain_peers; i++)
		wfs_peer_prefer(b->peer, b->fetch->peers[i]);
	wfs_far_hold(b->fetch->far, b->peer, (const uint8_t *)name);
	return b;
}

void rdma_bench_close(struct rdma_bench *b)
{
	fetch_bench_close(b->fetch);
	wfs_exporter_close(b->exporter);
	wfs_rdma_peer_free(b->memory);
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
