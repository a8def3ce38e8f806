/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed's memory, as a node knows it: the session that the control channel
 * gave, the rails that lead there and where each region lies.
 *
 * One for each seed, shared by its lanes.  What was told is asked for anew when
 * the session nears its end, when it is refused, and now and then when a region
 * is asked for that was not in it.
 *
 * A seed offers a rail while its port is up.  Each that it ever offered has a
 * place here, by its address, where its counts and its pause outlive sessions.
 */
#ifndef WFS_TRANSPORT_RDMA_PEER_H
#define WFS_TRANSPORT_RDMA_PEER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/metric.h"
#include "transport/fetch/control.h"
#include "transport/rdma/hello.h"
#include "transport/rdma/local.h"
#include "transport/rdma/tally.h"
#include "transport/wire/frame.h"

#define WFS_PEER_RAILS 16

struct wfs_rdma_rail {
	char address[64]; /* numeric */
	uint16_t port;
	unsigned place; /* among the peer's: the same for good */
};

/* A region in a seed's memory, and behind it its chunks' XXH3-128. */
struct wfs_rdma_place {
	uint8_t id[WFS_WIRE_ID_BYTES];
	uint64_t size, address;
	uint64_t digests;		/* their address */
	uint32_t rkeys[WFS_PEER_RAILS]; /* as told; a peer's: by place */
};

/* Memory that a seed's owner lent it: no region of its own. */
struct wfs_rdma_memory {
	uint64_t size, address;
	uint32_t rkeys[WFS_PEER_RAILS];
};

struct wfs_rdma_piece {
	uint64_t off, len; /* in the region */
	uint64_t address;
};

/* A region in such memory, of an epoch; the cell tells which one it is now. */
struct wfs_rdma_live {
	uint8_t id[WFS_WIRE_ID_BYTES];
	uint64_t size, epoch, cell;
	struct wfs_rdma_piece *pieces; /* ascending, none over another */
	size_t piece_count;
};

struct wfs_rdma_table {
	uint64_t session, expires;
	uint8_t key[WFS_HELLO_KEY];
	uint64_t lease_ns;
	struct wfs_rdma_rail rails[WFS_PEER_RAILS];
	size_t rail_count;
	struct wfs_rdma_place *places; /* by id */
	size_t place_count;
	struct wfs_rdma_memory *memory; /* by address, none over another */
	size_t memory_count;
	struct wfs_rdma_live *live; /* by id */
	size_t live_count;
};

/*
 * Reads what a seed answered; `text` as wfs_json_parse wants it.  -EBADMSG
 * with a sentence.
 */
int wfs_rdma_table_parse(char *text, size_t len, const char *what,
			 struct wfs_rdma_table *ret, struct wfs_err *err);
void wfs_rdma_table_clear(struct wfs_rdma_table *table);

/* A READ of the seed's memory. */
struct wfs_rdma_read {
	uint64_t address;
	uint32_t len, rkey;
};

/*
 * What brings a chunk: its bytes, then its digest; or its bytes in pieces, then
 * the cell of memory that its owner changes, which must have that epoch after
 * all else was read.
 */
#define WFS_RDMA_READS 32
struct wfs_rdma_plan {
	unsigned count;
	struct wfs_rdma_read reads[WFS_RDMA_READS];
	bool live;
	uint64_t epoch;
};
#define WFS_RDMA_CELL 8 /* bytes, little-endian */

/* What of it is wanted, by which rail (its place). */
struct wfs_rdma_want {
	const uint8_t *id;
	uint64_t off;
	uint32_t len;
	unsigned rail;
};

/* -ENODATA, -EPROTO as wfs_rdma_peer_find. */
int wfs_rdma_table_plan(const struct wfs_rdma_table *table,
			const struct wfs_rdma_want *want,
			struct wfs_rdma_plan *ret_plan);

/* From one of this node's ports to one of the seed's rails. */
struct wfs_rdma_path {
	uint64_t paused;   /* ns: it is not tried before … */
	uint64_t chosen;   /* … as was found of a way that was chosen then */
	uint64_t no_route; /* ns: others are tried first before */
};

struct wfs_rdma_peer {
	struct wfs_control control;
	char *label;
	pthread_mutex_t lock;	     /* guards all below */
	pthread_mutex_t asking;	     /* one thread asks the seed */
	struct wfs_rdma_table table; /* session 0: none */
	uint64_t until;		     /* ns, of our clock: the lease's end */
	uint64_t again_at;	     /* ns: the seed is not asked before */
	unsigned next_rail;
	size_t rail_count; /* all that were ever offered, by place */
	char rails[WFS_PEER_RAILS][64]; /* their addresses */
	/* By the rail's place and the port's index; 0 where none is known. */
	struct wfs_rdma_path paths[WFS_PEER_RAILS][WFS_LOCALS_MAX];
	bool crowded; /* there were too many rails, and it was said */
	struct wfs_tally tallies[WFS_PEER_RAILS]; /* no lock */
};

struct wfs_rdma_peer *wfs_rdma_peer_new(const struct wfs_control *control);
void wfs_rdma_peer_free(struct wfs_rdma_peer *peer); /* NULL is fine */

/* What a lane connects with. */
struct wfs_rdma_way {
	struct wfs_rdma_rail to;
	unsigned rail;	/* its place */
	unsigned local; /* our port; WFS_LOCALS_MAX: as the kernel chooses */
	union wfs_rdma_address from;
	char by[64];	 /* its device */
	bool no_route;	 /* all ways led nowhere lately, this one too */
	uint64_t chosen; /* ns */
	uint64_t session, expires;
	uint8_t key[WFS_HELLO_KEY];
};

/* A valid session, asked for unless another thread just did. */
int wfs_rdma_peer_renew(struct wfs_rdma_peer *peer, const atomic_bool *stop,
			struct wfs_err *err);
/*
 * The best way that is not paused, of a session that is valid, which is asked
 * for if need be.  A negative errno with a sentence.
 */
int wfs_rdma_peer_way(struct wfs_rdma_peer *peer, const atomic_bool *stop,
		      struct wfs_rdma_way *ret_way, struct wfs_err *err);
/* The seed does not know that session (any more). */
void wfs_rdma_peer_forget(struct wfs_rdma_peer *peer, uint64_t session);
/* That way does not work just now … */
void wfs_rdma_peer_pause(struct wfs_rdma_peer *peer,
			 const struct wfs_rdma_way *way);
/* … or leads nowhere. */
void wfs_rdma_peer_no_route(struct wfs_rdma_peer *peer,
			    const struct wfs_rdma_way *way);
/* Are all ways to the rail (its place)? */
bool wfs_rdma_peer_is_paused_locked(const struct wfs_rdma_peer *peer,
				    unsigned rail,
				    const struct wfs_local *locals,
				    size_t count);

/*
 * Where a chunk lies: 0, or -ENODATA when the seed does not have it in memory,
 * or in too many pieces; -EPERM when `session` is not the one of the table any
 * more; -EPROTO when there is no such chunk.
 */
int wfs_rdma_peer_find(struct wfs_rdma_peer *peer, uint64_t session,
		       const struct wfs_rdma_want *want,
		       struct wfs_rdma_plan *ret_plan);

/* Of each rail, as a member of a JSON object: "rails". */
void wfs_rdma_peer_report(struct wfs_rdma_peer *peer, struct wfs_text *text);
/* The families of all peers' rails; `seeds` are their labels. */
void wfs_rdma_peers_measure(struct wfs_rdma_peer *const *peers,
			    const char *const *seeds, size_t count,
			    enum wfs_metric_form form, struct wfs_text *text);

#endif
