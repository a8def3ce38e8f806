/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed's side of RDMA: its regions in registered memory, which nodes read
 * without us.
 *
 * What the stock lists is copied into memory, as much as the budget allows;
 * behind a region's bytes lie the XXH3-128 of its chunks.  It is registered for
 * remote reading only, on each rail, in a protection domain for each kind of
 * client (`who`: nobody in particular, the holders of the token, the holder of
 * a certificate).  A node gets a session over the control channel, and with it
 * where everything lies and the keys of that domain.  A region that the stock
 * lists no more is deregistered, so that nobody reads what took its place.
 *
 * Memory of others may be lent as well (wfs_exporter_lend): it is registered
 * where it is, nothing of it is copied, and its owner may change it.  Whoever
 * reads it looks at the owner's epoch afterwards.
 *
 * What somebody can do with a key that is not his:
 * - A key opens memory to queue pairs of its protection domain alone, and these
 *   are made by us alone, for whoever proves by an HMAC that he has the secret
 *   of a session.  The secret goes over the control channel only; so without
 *   one a key is a number.
 * - A session of another domain does not help, nor does the number of somebody
 *   else's session: a session is prolonged, and its secret told, to its own
 *   `who` only.
 * - A request to connect can be overheard.  It is valid for one queue pair
 *   number until it expires, and once, for it has a number that the node draws
 *   and that we remember: to say it again is of no use.
 * - When a session is over (its lease, or 1024 others took its place), its
 *   queue pairs are destroyed within a second; when nobody has one in a domain
 *   its memory is deregistered and its keys open nothing, whoever connects.
 * - Whoever has a session may read what its domain may read, as he may over
 *   HTTP.  Who can forge packets on the fabric itself, into a connection of
 *   another, reads what that one may: RDMA is for fabrics that are trusted.
 */
#ifndef WFS_TRANSPORT_RDMA_EXPORT_H
#define WFS_TRANSPORT_RDMA_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/live.h"
#include "transport/wire/frame.h"

#define WFS_EXPORT_SPANS 4096 /* that are lent together, at most */

/* Tells where a region lies in memory that was lent. */
typedef void wfs_export_tell_live(void *to,
				  const struct wfs_wire_region *region,
				  const struct wfs_live_memory *memory);

/*
 * What there is to export; from a thread of the exporter's, but for `live`.
 * `list` and `read` are NULL where nothing is to be copied.
 */
struct wfs_export_stock {
	void *ctx;
	/* The regions that are listed now; *ret_regions is freed by us. */
	size_t (*list)(void *ctx, struct wfs_wire_region **ret_regions);
	/* A whole chunk, and its XXH3-128.  0 or a negative errno. */
	int (*read)(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
		    uint64_t off, uint32_t len, void *buf,
		    uint8_t ret_digest[WFS_WIRE_HASH_SIZE]);
	/*
	 * Calls `tell` for each region of memory that was lent; from whoever
	 * calls wfs_exporter_tell.  NULL: none is.
	 */
	void (*live)(void *ctx, wfs_export_tell_live *tell, void *to);
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
 * The answer to /v1/rdma, for `who` has the right to ask: session 0 is a new
 * one, another is prolonged where it is still valid and his, and is a new one
 * where not.  The first of a kind waits for memory to be registered for him.
 * -EBUSY: there are too many kinds; -ENETDOWN: no port is up.
 */
int wfs_exporter_tell(struct wfs_exporter *exporter, const char *who,
		      uint64_t session, struct wfs_text *ret_text);

/*
 * May memory that its owner changes be read where it is?  -ENOTSUP with a
 * sentence where a fork moves it away from the device.
 */
int wfs_exporter_can_lend(const struct wfs_exporter *exporter,
			  struct wfs_err *err);
/*
 * Lets these spans (ascending, copied) be read, and the cell (see struct
 * wfs_live_memory), which stands for all of them.  They are registered when
 * somebody asks.  -E2BIG, -EEXIST.
 */
int wfs_exporter_lend(struct wfs_exporter *exporter, const void *cell,
		      const struct wfs_live_span *spans, size_t count);
/*
 * Nobody reads them any more when this returns.  -ENOENT: they were not lent;
 * -EBUSY: a device did not let go of them, so that the cell must stay.
 */
int wfs_exporter_take_back(struct wfs_exporter *exporter, const void *cell);

struct wfs_export_stats {
	uint64_t regions, bytes; /* in memory now */
	uint64_t left_out;	 /* regions that did not fit */
	uint64_t lent;		 /* bytes of others */
	uint64_t domains, sessions, connections;
	uint64_t refused, vanished; /* connections, so far */
};
void wfs_exporter_stats(struct wfs_exporter *exporter,
			struct wfs_export_stats *ret);
/* The same as OpenMetrics text. */
void wfs_exporter_measure(struct wfs_exporter *exporter, struct wfs_text *text);

#endif
