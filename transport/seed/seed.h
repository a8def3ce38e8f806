/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed: serves the checkpoints of a registry to other nodes, and to
 * anybody's curl, as transport/PROTOCOL.md says.
 *
 * HTTP is libmicrohttpd's, with a thread a connection; their number is capped,
 * so one that waits (for digests, for its turn under the rate cap, for a slow
 * client) costs nobody else anything.  Bytes go from the descriptors of the
 * regions to the socket by sendfile(2), without passing through us.
 */
#ifndef WFS_TRANSPORT_SEED_SEED_H
#define WFS_TRANSPORT_SEED_SEED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/digest/book.h"
#include "core/model/registry.h"
#include "transport/seed/stock.h"

#define WFS_SEED_LISTEN "127.0.0.1:7420"

struct wfs_seed_config {
	const char *listen;	    /* see wfs_listener_open; NULL: the above */
	const char *token_file;	    /* NULL: whoever gets here may ask */
	const char *tls_cert;	    /* NULL: no TLS; else a PEM chain … */
	const char *tls_key;	    /* … and its key */
	const char *tls_client_ca;  /* clients bring a certificate of these */
	bool insecure;		    /* beyond loopback also without a token */
	uint64_t rate;		    /* bytes a second; 0: no cap */
	unsigned senders;	    /* chunks that are sent at a time; 0: any */
	unsigned connections;	    /* at most; 0: 256 */
	unsigned per_client;	    /* from one address; 0: 64 */
	uint64_t header_timeout_ns; /* for a whole request; 0: 20 s */
	uint64_t stall_timeout_ns;  /* for some progress; 0: 30 s */
	uint64_t linger_ns;    /* replaced versions stay so long; 0: 60 s */
	struct wfs_book *book; /* outlives the seed; may be NULL */
	const struct wfs_holder *holder; /* copied; NULL: none */
	/* Adds to the metrics (OpenMetrics), from any thread; may be NULL. */
	void (*measure)(void *ctx, struct wfs_text *text);
	void *measure_ctx;
};

struct wfs_seed;

/*
 * A faster way to the regions, which /v1/rdma tells of; `tell` answers there,
 * for the session of that number (0: a new one), from any thread.  `who` names
 * the kind of client: "anybody", "token", or "certificate of …".  A negative
 * errno: not now.
 */
struct wfs_seed_fabric {
	void *ctx;
	int (*tell)(void *ctx, const char *who, uint64_t session,
		    struct wfs_text *ret_text);
	/* Adds to the metrics. */
	void (*measure)(void *ctx, struct wfs_text *text);
};

/*
 * Reads what the config names and listens; nobody is answered yet.  -EPERM
 * for an address beyond loopback without a token; otherwise as
 * wfs_listener_open and the files it read, with a sentence.
 */
int wfs_seed_open(const struct wfs_seed_config *config,
		  struct wfs_registry *registry, struct wfs_seed **ret_seed,
		  struct wfs_err *err);

/*
 * A descriptor of a region's file, the caller's, and its size, for processes
 * of this host.  -ENOENT, -ESTALE, -ENOTSUP: there is no such file.
 */
int wfs_seed_descriptor(struct wfs_seed *seed,
			const uint8_t id[WFS_WIRE_ID_BYTES],
			uint64_t *ret_size);
/* Tells clients at which socket these are to be had; before the start. */
void wfs_seed_set_socket(struct wfs_seed *seed, const char *path);

/* There is one, which outlives the seed (copied); before the start. */
void wfs_seed_set_fabric(struct wfs_seed *seed,
			 const struct wfs_seed_fabric *fabric);

/*
 * The regions that are listed now and can be sent whole; *ret_regions is freed
 * by the caller.
 */
size_t wfs_seed_regions(struct wfs_seed *seed,
			struct wfs_wire_region **ret_regions);
/*
 * Calls `each` for every region that is listed now, and not stale; it stays
 * until `each` returns.
 */
void wfs_seed_each_region(struct wfs_seed *seed,
			  void (*each)(void *ctx,
				       const struct wfs_wire_region *listed,
				       struct wfs_region *region),
			  void *ctx);
/*
 * A whole chunk and its XXH3-128, for whoever sends it by himself.  -ENOENT,
 * -ESTALE, -ENODATA: it is not held; -EIO, also where the bytes are not those
 * whose digest is known.
 */
int wfs_seed_chunk(struct wfs_seed *seed, const uint8_t id[WFS_WIRE_ID_BYTES],
		   uint64_t off, uint32_t len, void *buf,
		   uint8_t ret_digest[WFS_WIRE_HASH_SIZE]);

/* Starts the threads.  Once; not before a fork. */
int wfs_seed_start(struct wfs_seed *seed, struct wfs_err *err);

/* Looks at the registry now, and not within a second. */
void wfs_seed_refresh(struct wfs_seed *seed);

/* "http://127.0.0.1:7420" */
const char *wfs_seed_url(const struct wfs_seed *seed);

/* Cuts off everybody and ends the threads.  NULL is fine. */
void wfs_seed_close(struct wfs_seed *seed);

#endif
