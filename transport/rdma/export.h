/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed's side of RDMA: its regions in registered memory, which nodes read
 * without us.
 *
 * What the stock lists is copied into memory, as much as the budget allows, and
 * registered once on each rail, for remote reading only; behind a region's
 * bytes lie the XXH3-128 of its chunks.  A node gets a session over the control
 * channel, and with it where everything lies; its queue pairs prove that they
 * are of that session, and end with it.  A region that the stock lists no more
 * is deregistered, so that nobody reads what took its place.
 */
#ifndef WFS_TRANSPORT_RDMA_EXPORT_H
#define WFS_TRANSPORT_RDMA_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "transport/wire/frame.h"

/* What there is to export; from a thread of the exporter's. */
struct wfs_export_stock {
	void *ctx;
	/* The regions that are listed now; *ret_regions is freed by us. */
	size_t (*list)(void *ctx, struct wfs_wire_region **ret_regions);
	/* A whole chunk, and its XXH3-128.  0 or a negative errno. */
	int (*read)(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
		    uint64_t off, uint32_t len, void *buf,
		    uint8_t ret_digest[WFS_WIRE_HASH_SIZE]);
};

struct wfs_export_config {
	const struct wfs_export_stock *stock; /* copied */
	uint64_t memory;		      /* bytes of regions, at most */
	uint64_t lease_ns;		      /* of a session; 0: 300 s */
};

struct wfs_exporter;

/*
 * Listens on every rail; nobody is answered yet.  -ENODEV, -ENOENT … with a
 * sentence where there is no RDMA.
 */
int wfs_exporter_open(const struct wfs_export_config *config,
		      struct wfs_exporter **ret_exporter, struct wfs_err *err);
/* Starts its threads; not before a fork. */
int wfs_exporter_start(struct wfs_exporter *exporter, struct wfs_err *err);
/* Ends them, and every connection.  NULL is fine. */
void wfs_exporter_stop(struct wfs_exporter *exporter);
/* The same, and frees what is registered.  NULL is fine. */
void wfs_exporter_close(struct wfs_exporter *exporter);

/*
 * The answer to /v1/rdma, for whoever may ask: session 0 is a new one, another
 * is prolonged where it is still valid, and is a new one where not.
 */
void wfs_exporter_tell(struct wfs_exporter *exporter, uint64_t session,
		       struct wfs_text *ret_text);

struct wfs_export_stats {
	uint64_t regions, bytes; /* registered now */
	uint64_t left_out;	 /* regions that did not fit */
	uint64_t sessions, connections;
	uint64_t refused; /* connections, so far */
};
void wfs_exporter_stats(struct wfs_exporter *exporter,
			struct wfs_export_stats *ret);
/* The same as OpenMetrics text. */
void wfs_exporter_measure(struct wfs_exporter *exporter, struct wfs_text *text);

#endif
