/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rdma_seed.h.
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
#include "tests/unit/rdma_seed.h"

#define WAIT_NS 60000000000ull

static const atomic_bool never;

/* The first is what the fetch's fixture calls it; others differ at the end. */
void rdma_seed_name(uint8_t id[WFS_WIRE_ID_BYTES], size_t index)
{
	static const char name[WFS_WIRE_ID_BYTES] = "region";

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
		rdma_seed_name((*ret_regions)[i].id, i);
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
	if (stock->digests)
		memcpy(ret_digest,
		       stock->digests + off / WFS_CHUNK * WFS_WIRE_HASH_SIZE,
		       WFS_WIRE_HASH_SIZE);
	else
		wfs_digest_bytes(WFS_XXH3_128, buf, len, ret_digest);
	return 0;
}

static void tell_live(void *ctx, wfs_export_tell_live *tell, void *to)
{
	const struct rdma_lent *lent = ((struct rdma_seed *)ctx)->lent;
	struct wfs_wire_region region = { .size = lent->size };

	rdma_seed_name(region.id, 0);
	tell(to, &region, &lent->memory);
}

static int ask(void *ctx, const char *path, const atomic_bool *stop,
	       char **ret_text, size_t *ret_len, struct wfs_err *err)
{
	static const char padding[WFS_JSON_PADDING];
	struct rdma_seed *seed = ctx;
	struct wfs_text text = { 0 };
	const char *session = strstr(path, "session=");
	int rc;

	if (atomic_load(stop) || atomic_load(&seed->mute))
		return wfs_err_set(err, -ETIMEDOUT, "it does not answer");
	atomic_fetch_add(&seed->asked, 1);
	rc = wfs_exporter_tell(seed->exporter,
			       seed->who ? seed->who : "anybody",
			       session ? strtoull(session + 8, NULL, 10) : 0,
			       &text);
	if (rc)
		return wfs_err_set(err, rc, "its memory cannot be read");
	*ret_len = text.len;
	wfs_text_add_bytes(&text, padding, sizeof(padding));
	*ret_text = text.data;
	return 0;
}

void rdma_seed_open(struct rdma_seed *seed)
{
	const struct wfs_export_stock files = { .ctx = &seed->stock,
						.list = list_stock,
						.read = read_stock };
	const struct wfs_export_stock live = { .ctx = seed, .live = tell_live };
	const struct wfs_export_config config = {
		.stock = seed->lent ? &live : &files,
		.memory = seed->memory ? seed->memory : 1ull << 40,
		.lease_ns = seed->lease_ns,
	};
	const struct wfs_control control = { .label = "seed-rdma",
					     .get = ask,
					     .ctx = seed };
	struct wfs_err err = { 0 };

	if (wfs_exporter_open(&config, &seed->exporter, &err) ||
	    wfs_exporter_start(seed->exporter, &err))
		fail_msg("%s", err.text);
	if (seed->lent) {
		assert_int_equal(wfs_exporter_can_lend(seed->exporter, &err),
				 0);
		assert_int_equal(wfs_exporter_lend(seed->exporter,
						   seed->lent->memory.cell,
						   &seed->lent->span, 1),
				 0);
	}
	seed->peer = wfs_rdma_peer_new(&control);
}

void rdma_seed_close(struct rdma_seed *seed)
{
	wfs_exporter_close(seed->exporter);
	wfs_rdma_peer_free(seed->peer);
}

struct wfs_export_stats rdma_seed_stats(const struct rdma_seed *seed)
{
	struct wfs_export_stats stats;

	wfs_exporter_stats(seed->exporter, &stats);
	return stats;
}

static void nap_until(uint64_t until, const char *what)
{
	if (wfs_now_ns() > until)
		fail_msg("waited too long for %s", what);
	usleep(1000);
}

void rdma_seed_await(const struct rdma_seed *seed, uint64_t in, uint64_t out)
{
	uint64_t until = wfs_now_ns() + WAIT_NS;

	while (rdma_seed_stats(seed).regions != in ||
	       rdma_seed_stats(seed).left_out != out)
		nap_until(until, "regions");
}

void rdma_seed_await_links(const struct rdma_seed *seed, uint64_t links)
{
	uint64_t until = wfs_now_ns() + WAIT_NS;

	while (rdma_seed_stats(seed).connections != links)
		nap_until(until, "connections");
}

void rdma_seed_await_none(const struct rdma_seed *seed)
{
	uint64_t until = wfs_now_ns() + WAIT_NS;

	while (fake_rdma_live_of("qp"))
		nap_until(until, "queue pairs");
	/* What belonged to the last one goes before it is uncounted. */
	rdma_seed_await_links(seed, 0);
}

struct wfs_rdma_way rdma_seed_way(struct rdma_seed *seed)
{
	struct wfs_rdma_way way;
	struct wfs_err err = { 0 };

	if (wfs_rdma_peer_way(seed->peer, &never, &way, &err))
		fail_msg("%s", err.text);
	return way;
}

int rdma_reader_open(struct rdma_reader *reader, struct rdma_seed *seed,
		     const struct wfs_rdma_way *way)
{
	struct wfs_err err = { 0 };
	int rc;

	*reader =
		(struct rdma_reader){ .way = way ? *way : rdma_seed_way(seed) };
	rc = wfs_rdma_link_open(&reader->link, "seed-rdma", &reader->way,
				&never, &err);
	if (rc) {
		assert_non_null(strstr(err.text, "seed 'seed-rdma'"));
		return rc;
	}
	reader->bytes = wfs_malloc(WFS_CHUNK);
	memset(reader->bytes, 0x5a, WFS_CHUNK);
	reader->mr = reader->link.verbs->ibv_reg_mr_iova(
		reader->link.id->qp->pd, reader->bytes, WFS_CHUNK,
		(uintptr_t)reader->bytes, IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(reader->mr);
	return 0;
}

void rdma_reader_close(struct rdma_reader *reader)
{
	wfs_rdma_link_cut(&reader->link);
	if (reader->mr)
		reader->link.verbs->ibv_dereg_mr(reader->mr);
	wfs_rdma_link_close(&reader->link);
	free(reader->bytes);
}

void rdma_reader_post(struct rdma_reader *reader, uint64_t address,
		      uint32_t len, uint32_t rkey)
{
	struct ibv_sge to = { .addr = (uintptr_t)reader->bytes,
			      .length = len,
			      .lkey = reader->mr->lkey };
	struct ibv_send_wr wr = { .wr_id = 7,
				  .sg_list = &to,
				  .num_sge = 1,
				  .opcode = IBV_WR_RDMA_READ,
				  .send_flags = IBV_SEND_SIGNALED };
	struct ibv_send_wr *bad;

	wr.wr.rdma.remote_addr = address;
	wr.wr.rdma.rkey = rkey;
	assert_int_equal(ibv_post_send(reader->link.id->qp, &wr, &bad), 0);
}

enum ibv_wc_status rdma_reader_read(struct rdma_reader *reader,
				    uint64_t address, uint32_t len,
				    uint32_t rkey)
{
	struct ibv_wc wc;

	rdma_reader_post(reader, address, len, rkey);
	assert_int_equal(wfs_rdma_link_wait(&reader->link, WAIT_NS, &wc), 0);
	assert_int_equal(wc.wr_id, 7);
	return wc.status;
}

struct wfs_rdma_place rdma_reader_find(const struct rdma_reader *reader,
				       struct rdma_seed *seed, size_t index)
{
	struct wfs_rdma_peer *peer = seed->peer;
	struct wfs_rdma_place place = { 0 };
	uint8_t id[WFS_WIRE_ID_BYTES];

	rdma_seed_name(id, index);
	pthread_mutex_lock(&peer->lock);
	assert_int_equal(peer->table.session, reader->way.session);
	for (size_t i = 0; i < peer->table.place_count; i++)
		if (!memcmp(peer->table.places[i].id, id, sizeof(id)))
			place = peer->table.places[i];
	pthread_mutex_unlock(&peer->lock);
	assert_true(place.size > 0);
	return place;
}
