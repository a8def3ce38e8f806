/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is asked for which chunk.
 *
 * A fetch has peers (seeds); a peer has lanes, each a connection with a thread
 * of its own; a far file is known to some of the peers.  A reader hands in the
 * chunks of what it wants and sleeps until all of them are there; lanes take
 * chunks from one queue as they become free, so that whoever is faster takes
 * more.  A lane receives straight into the reader's memory, and a chunk counts
 * as done only when its digest was right.
 *
 * - What somebody waits for goes before what is read ahead.
 * - A chunk that is late is asked of another peer as well, into memory of that
 *   lane, and when that is late too of yet another in its stead; the first
 *   right answer wins, and nobody else writes to the reader's memory by the
 *   time it goes on.
 * - What one peer could not give, or gave wrongly, another is asked for.  A
 *   wrong chunk puts its peer in quarantine.
 * - A peer has a rank, 0 unless it was given another one: one of a later rank
 *   is asked for what none of an earlier rank brings, or brings in time.
 * - With nobody left to ask a reader waits up to the deadline.
 * - What goes to device memory (wfs_far_land) only lanes are asked for that
 *   reach it, one at a time; with none of them left nobody waits.
 *
 * How bytes come over a wire is the lane's (struct wfs_lane_ops): nothing here
 * knows about sockets.  One lock, never held across I/O.
 */
#ifndef WFS_TRANSPORT_FETCH_FETCH_H
#define WFS_TRANSPORT_FETCH_FETCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"
#include "core/digest/digests.h"
#include "core/landing.h"
#include "transport/wire/frame.h"

/*
 * Of one fetch; each lane is a thread.  Once there are so many lanes, a peer
 * that is added has one: many peers are fast enough with one each.
 */
#define WFS_PEERS_MAX  4096
#define WFS_LANES_MANY 512
#define WFS_RANKS_MAX  4

struct wfs_fetch;
struct wfs_peer;
struct wfs_far;

struct wfs_fetch_config {
	uint64_t deadline_ns; /* of a read that nobody can serve; 0: 60 s */
	uint64_t late_ns;     /* never ask another peer before; 0: 250 ms */
	uint64_t quarantine_ns, quarantine_max_ns; /* 0: 5 s, 10 min */
	/*
	 * Between tries of a dead peer, more each time; 0: 100 ms, 5 s.  While
	 * somebody waits for what nobody else has: 250 ms at most.
	 */
	uint64_t retry_ns, retry_max_ns;
	/*
	 * Called with no lock held: a peer says that it knows a region no
	 * more, or was unreachable.  May be NULL.
	 */
	void (*lost)(void *ctx, struct wfs_peer *peer);
	/*
	 * The same: a chunk of a doubted peer was wrong, of a file of that
	 * group; `text` says which.  Needed with a doubted peer.
	 */
	void (*differs)(void *ctx, struct wfs_peer *peer, uint64_t group,
			const char *text);
	void *ctx;
};

struct wfs_lane_ask {
	uint8_t id[WFS_WIRE_ID_BYTES]; /* of the region, as the peer has it */
	uint64_t off;
	uint32_t len;
	uint32_t tag;
	/*
	 * Where the bytes belong, for a lane that lands them by itself; NULL:
	 * they must not go there, another may write to it.
	 */
	void *to;
	/* Or there: at `ring_at` of it.  NULL: not. */
	const struct wfs_landing_ring *ring;
	uint64_t ring_at;
};

/* One lane's connection.  Calls come from the lane's thread, but `stop`. */
struct wfs_lane_ops {
	/*
	 * Its answers carry no digests: without a trusted list a chunk is
	 * taken as it comes.  For origins, whose word is all there is.
	 */
	bool bare;
	/*
	 * Nobody knows of what version its bytes are: it is asked only for
	 * files with a trusted list.  One of which a chunk was wrong it is not
	 * asked for again until it is said to hold it anew; that is no reason
	 * for a quarantine, it may be right of another version.
	 */
	bool doubted;
	/*
	 * Connects, which ends soon after *stop was set.  A negative errno
	 * with a sentence.
	 */
	int (*open)(void *peer_ctx, const atomic_bool *stop, void **ret_conn,
		    struct wfs_err *err);
	/*
	 * It may land what it is asked for where it belongs, with nobody
	 * calling `body` for that: `to` is its alone from `ask` until the
	 * answer was had, or `close` returned.
	 */
	bool lands;
	/*
	 * Can it land bytes in that ring, as far as is known?  With the fetch's
	 * lock held.  NULL: no such lane can.
	 */
	bool (*reaches)(void *conn, const struct wfs_landing_ring *ring);
	/*
	 * Sends one request, at the latest when `head` is called; up to two are
	 * under way.  1: the bytes land at its `to`, and `body` copies nothing;
	 * 0: they do not.  Those for a ring land there, without a digest, or the
	 * answer is a refusal.
	 */
	int (*ask)(void *conn, const struct wfs_lane_ask *ask);
	/* The head of the oldest answer, then what it announces. */
	int (*head)(void *conn, struct wfs_wire_answer *ret_answer);
	int (*body)(void *conn, void *to, uint32_t len);
	/* From any thread: the calls above fail from now on, soon. */
	void (*stop)(void *conn);
	/* On return nothing is written to any `to` any more. */
	void (*close)(void *conn);
};

void wfs_fetch_new(const struct wfs_fetch_config *config,
		   struct wfs_fetch **ret_fetch);
/* All reads, now and later, fail with -ESHUTDOWN.  Returns at once. */
void wfs_fetch_stop(struct wfs_fetch *fetch);
/* Ends the lanes.  No read may be under way.  NULL is fine. */
void wfs_fetch_free(struct wfs_fetch *fetch);

/*
 * Adds a peer with `lanes` connections, made when they are needed.  `ctx` is
 * for the lane's open and must outlive the fetch.  -E2BIG: there are
 * WFS_PEERS_MAX; -EAGAIN: no thread can be started; -ESHUTDOWN.
 */
int wfs_peer_add(struct wfs_fetch *fetch, const char *label,
		 const struct wfs_lane_ops *ops, void *ctx, unsigned lanes,
		 struct wfs_peer **ret_peer);
/* Why it was not added, and what to do. */
const char *wfs_peer_refusal(int error);
/*
 * Both lead to the same bytes, and `faster` is asked first: what both hold
 * `peer` takes only where that one failed, is in quarantine, is late, or brings
 * nothing at all for as long.  For good, both of one fetch.
 */
void wfs_peer_prefer(struct wfs_peer *faster, struct wfs_peer *peer);
/* Below WFS_RANKS_MAX; before it holds anything. */
void wfs_peer_set_rank(struct wfs_peer *peer, unsigned rank);
const char *wfs_peer_label(const struct wfs_peer *peer);
/* It answered elsewhere: no reason to wait before the next try. */
void wfs_peer_is_up(struct wfs_peer *peer);

struct wfs_peer_stats {
	uint64_t bytes, chunks;
	uint64_t errors;	/* connections and answers that failed */
	uint64_t wrong;		/* chunks with another digest */
	uint64_t hedges, won;	/* asked of it as well; in time */
	uint64_t rate;		/* bytes/s, lately */
	unsigned lanes;		/* connected now */
	unsigned busy;		/* requests under way */
	double quarantine_s;	/* left; 0: none */
	bool down;		/* the last try failed, none succeeded since */
	char why[WFS_ERR_TEXT]; /* it is down */
};
void wfs_peer_stats(struct wfs_peer *peer, struct wfs_peer_stats *ret);

/* A file of `size` bytes.  `model` and `path` (copied) are for messages. */
struct wfs_far *wfs_far_new(struct wfs_fetch *fetch, const char *model,
			    const char *path, uint64_t size);
/* No read may be under way.  NULL is fine. */
void wfs_far_free(struct wfs_far *far);

/* Files that belong together. */
struct wfs_far_group {
	uint64_t id;			    /* for `differs` */
	atomic_ullong bytes[WFS_RANKS_MAX]; /* that peers of a rank brought */
};
/* It outlives the file; before that is read. */
void wfs_far_set_group(struct wfs_far *far, struct wfs_far_group *group);

/* The peer has it, under `id`; asked anew if it had lost it. */
void wfs_far_hold(struct wfs_far *far, struct wfs_peer *peer,
		  const uint8_t id[WFS_WIRE_ID_BYTES]);
/* Could the peer be asked for chunks of it, as far as that is known? */
bool wfs_far_has(struct wfs_far *far, const struct wfs_peer *peer);
/* The peer is not asked for it any more. */
void wfs_far_drop(struct wfs_far *far, struct wfs_peer *peer);
/* The same, since the peer has other bytes in its place: as if it said so. */
void wfs_far_replaced(struct wfs_far *far, struct wfs_peer *peer);

/*
 * Nobody will ever have its bytes again: reads, those under way too, fail
 * with -ESTALE.
 */
void wfs_far_end(struct wfs_far *far);

/*
 * From now on every chunk is compared with this list (taken over; freed with
 * the far) instead of the digest that comes with it.  Once; false and freed
 * when there is one already.
 */
bool wfs_far_trust(struct wfs_far *far, struct wfs_digests *digests);
bool wfs_far_is_trusted(const struct wfs_far *far);
/* That list, which lives as long as the file; NULL: there is none yet. */
const struct wfs_digests *wfs_far_digests(const struct wfs_far *far);

/*
 * Reads exactly `len` bytes at `off`, which lie within the file: whole chunks
 * straight into `buf`.  0; after the deadline -EBADMSG where the bytes that
 * came were wrong, or are not asked for since others of that peer were,
 * -EHOSTUNREACH where nobody who has it is to be reached, else -EIO; -ESTALE
 * when all who had it say that it was rewritten; -ESHUTDOWN.
 */
int wfs_far_read(struct wfs_far *far, void *buf, size_t len, uint64_t off);

/*
 * Lands exactly `len` bytes at `off`, which lie within the file, in device
 * memory.  0; -ENOTSUP where the file has a trusted list, or no lane that
 * reaches the ring gives them, now; otherwise as wfs_far_read, or what
 * wfs_landing_why_stop says.  On return nothing is written there any more.
 */
int wfs_far_land(struct wfs_far *far, struct wfs_landing *landing, size_t len,
		 uint64_t off);

#endif
