/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's READs: a seed of nothing but a pattern, and a lane to it, both
 * in this process, by the way that a seed and a mount would take.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/text.h"
#include "tools/doctor.h"
#include "transport/rdma/export.h"
#include "transport/rdma/lane.h"
#include "transport/rdma/peer.h"

#define NS_PER_S   1000000000ull
#define BYTES	   (64ull << 20)
#define ROOM	   (80ull << 20) /* for their digests, too */
#define READ_NS	   (3 * NS_PER_S)
#define REGISTER_S 10
#define PAUSE_NS   2000000L
#define DEPTH	   2

static size_t list(void *ctx, struct wfs_wire_region **ret_regions)
{
	struct wfs_wire_region *region = wfs_calloc(1, sizeof(*region));

	(void)ctx;
	region->size = BYTES;
	*ret_regions = region;
	return 1;
}

static int make_chunk(void *ctx, const uint8_t *id, uint64_t off, uint32_t len,
		      void *buf, uint8_t *ret_digest)
{
	(void)ctx;
	(void)id;
	memset(buf, (int)(off / WFS_CHUNK) + 1, len);
	wfs_digest_bytes(WFS_XXH3_128, buf, len, ret_digest);
	return 0;
}

/* What a seed would answer to /v1/rdma. */
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

static int await_memory(struct wfs_exporter *exporter, struct wfs_err *err)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t until = wfs_now_ns() + REGISTER_S * NS_PER_S;
	struct wfs_export_stats stats;

	do {
		nanosleep(&pause, NULL);
		wfs_exporter_stats(exporter, &stats);
	} while (!stats.regions && !stats.left_out && wfs_now_ns() < until);
	return stats.regions ?
		       0 :
		       wfs_err_set(err, -ENOMEM, "memory cannot be registered");
}

static int take_chunk(void *conn, uint8_t *buf, struct wfs_err *err)
{
	struct wfs_wire_answer answer;
	uint8_t digest[WFS_WIRE_HASH_SIZE];
	int rc = wfs_rdma_lane_ops.head(conn, &answer);

	if (!rc)
		rc = wfs_rdma_lane_ops.body(conn, buf, answer.len);
	if (!rc && answer.status != WFS_WIRE_OK)
		return wfs_err_set(err, -ENODATA, "memory is not offered");
	if (rc)
		return wfs_err_set(err, rc, "a READ failed: %s", strerror(-rc));
	wfs_digest_bytes(WFS_XXH3_128, buf, answer.len, digest);
	return memcmp(digest, answer.digest, sizeof(digest)) ?
		       wfs_err_set(err, -EBADMSG, "READs give other bytes") :
		       0;
}

/* READs until all was read, or for long enough. */
static int measure(void *conn, uint8_t *buf, double *ret_rate,
		   struct wfs_err *err)
{
	struct wfs_lane_ask ask = { .len = WFS_CHUNK };
	uint64_t began = wfs_now_ns(), asked = 0, got = 0;

	while (got < asked ||
	       (asked < BYTES && wfs_now_ns() - began < READ_NS)) {
		int rc = 0;

		while (!rc && asked < BYTES &&
		       asked - got < (uint64_t)DEPTH * WFS_CHUNK &&
		       wfs_now_ns() - began < READ_NS) {
			ask.off = asked;
			rc = wfs_rdma_lane_ops.ask(conn, &ask);
			asked += rc < 0 ? 0 : WFS_CHUNK;
			rc = rc < 0 ? wfs_err_set(err, rc, "no READ: %s",
						  strerror(-rc)) :
				      0;
		}
		if (!rc && got < asked)
			rc = take_chunk(conn, buf, err);
		if (rc)
			return rc;
		got += WFS_CHUNK;
	}
	*ret_rate = (double)got * 1e9 / (double)(wfs_now_ns() - began);
	return 0;
}

static int read_back(struct wfs_exporter *exporter, double *ret_rate,
		     struct wfs_err *err)
{
	static const atomic_bool never;
	struct wfs_control control = { .label = "this machine",
				       .get = get,
				       .ctx = exporter };
	uint8_t *buf wfs_autofree = wfs_malloc(WFS_CHUNK);
	struct wfs_rdma_peer *peer;
	void *conn;
	int rc = wfs_exporter_start(exporter, err);

	if (!rc)
		rc = await_memory(exporter, err);
	if (rc)
		return rc;
	peer = wfs_rdma_peer_new(&control);
	rc = wfs_rdma_lane_ops.open(peer, &never, &conn, err);
	if (!rc) {
		rc = measure(conn, buf, ret_rate, err);
		wfs_rdma_lane_ops.close(conn);
	}
	wfs_rdma_peer_free(peer);
	return rc;
}

int wfs_doctor_loop(double *ret_rate, struct wfs_err *err)
{
	struct wfs_export_stock stock = { .list = list, .read = make_chunk };
	struct wfs_export_config config = { .stock = &stock, .memory = ROOM };
	struct wfs_exporter *exporter;
	int rc = wfs_exporter_open(&config, &exporter, err);

	if (rc)
		return rc;
	rc = read_back(exporter, ret_rate, err);
	wfs_exporter_close(exporter);
	return rc;
}
