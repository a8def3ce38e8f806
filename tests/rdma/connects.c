/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connects TIMES: a seed of nothing but zeros, and a node in the same process
 * that connects to it over real verbs, reads a chunk and ends, again and again.
 *
 * It says "once" after it did so by each rail, and "done" after all, and waits
 * each time for a line, so that somebody can look at what it holds meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "core/digest/digests.h"
#include "transport/rdma/export.h"
#include "transport/rdma/lane.h"
#include "transport/rdma/peer.h"

#define BYTES (2ull * WFS_CHUNK)
#define ROOM  (4ull * WFS_CHUNK)
#define RAILS 2 /* of the guest's */

static const atomic_bool never;

static void must(int rc, const struct wfs_err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "connects: %d: %s\n", rc, err->text);
	exit(1);
}

static size_t list(void *ctx, struct wfs_wire_region **ret_regions)
{
	struct wfs_wire_region *region = wfs_calloc(1, sizeof(*region));

	(void)ctx;
	region->size = BYTES;
	*ret_regions = region;
	return 1;
}

static int read_zeros(void *ctx, const uint8_t *id, uint64_t off, uint32_t len,
		      void *buf, uint8_t *ret_digest)
{
	(void)ctx;
	(void)id;
	(void)off;
	memset(buf, 0, len);
	wfs_digest_bytes(WFS_XXH3_128, buf, len, ret_digest);
	return 0;
}

/* What a seed would answer to /v1/rdma, a new session each time. */
static int get(void *ctx, const char *path, const atomic_bool *stop,
	       char **ret_text, size_t *ret_len, struct wfs_err *err)
{
	static const char padding[WFS_JSON_PADDING];
	struct wfs_text text = { 0 };
	int rc = wfs_exporter_tell(ctx, "anybody", 0, &text);

	(void)path;
	(void)stop;
	if (rc)
		return wfs_err_set(err, rc, "no port is up");
	*ret_len = text.len;
	wfs_text_add_bytes(&text, padding, sizeof(padding));
	*ret_text = text.data;
	return 0;
}

static void read_chunk(void *conn, uint8_t *buf, struct wfs_err *err)
{
	const struct wfs_lane_ask ask = { .len = WFS_CHUNK };
	struct wfs_wire_answer answer = { 0 };
	int rc = wfs_rdma_lane_ops.ask(conn, &ask);

	must(rc < 0 ? rc : 0, err);
	must(wfs_rdma_lane_ops.head(conn, &answer), err);
	must((int)answer.status, err);
	must(wfs_rdma_lane_ops.body(conn, buf, answer.len), err);
}

static void connect_by(struct wfs_rdma_peer *peer, int lanes)
{
	uint8_t *buf wfs_autofree = wfs_malloc(WFS_CHUNK);
	struct wfs_err err = { 0 };
	void *conns[RAILS];

	for (int i = 0; i < lanes; i++)
		must(wfs_rdma_lane_ops.open(peer, &never, &conns[i], &err),
		     &err);
	for (int i = 0; i < lanes; i++)
		read_chunk(conns[i], buf, &err);
	for (int i = 0; i < lanes; i++)
		wfs_rdma_lane_ops.close(conns[i]);
}

static void pause_at(const char *what)
{
	puts(what);
	fflush(stdout);
	if (getchar() == EOF)
		exit(1);
}

int main(int argc, char **argv)
{
	struct wfs_export_stock stock = { .list = list, .read = read_zeros };
	struct wfs_export_config config = { .stock = &stock, .memory = ROOM };
	struct wfs_control control = { .label = "itself", .get = get };
	struct wfs_exporter *exporter;
	struct wfs_rdma_peer *peer;
	struct wfs_export_stats stats = { 0 };
	struct wfs_err err = { 0 };
	long times = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

	must(wfs_exporter_open(&config, &exporter, &err), &err);
	must(wfs_exporter_start(exporter, &err), &err);
	control.ctx = exporter;
	while (!stats.regions) {
		usleep(1000);
		wfs_exporter_stats(exporter, &stats);
	}
	peer = wfs_rdma_peer_new(&control);
	connect_by(peer, RAILS);
	pause_at("once");
	for (long i = 0; i < times; i++)
		connect_by(peer, 1);
	pause_at("done");
	wfs_rdma_peer_free(peer);
	wfs_exporter_close(exporter);
	return 0;
}
