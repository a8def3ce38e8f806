/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the fetch share; nobody else includes it.
 *
 *	fetch.c  peers, and what is said of them
 *	far.c	 files: who has them
 *	read.c   readers: chunks handed in, waited for, called back
 *	queue.c  what becomes of a chunk
 *	pick.c   which one a lane takes next
 *	rank.c   whether it is to be left to a peer of an earlier rank
 *	ring.c   chunks for device memory
 *	lane.c   the threads
 *	wake.c   which of them are woken, and when
 *	land.c   and what they receive
 *	copy.c   a lane over another source, for any peer
 *
 * A chunk's life, all of it under the lock:
 *
 *	QUEUED -> ASKED -> DONE | FAILED
 *	   ^________|
 *
 * An ASKED chunk is in a slot of its owner, and while it is late in one of a
 * hedge, too.  A hedge that is late as well makes room for another peer's, or
 * two that hang would hold the chunk for as long as they do.  `writer` is the
 * lane that writes to its memory now: only that one may, and a chunk with a
 * writer does not leave the hands of its reader's batch.  A lane that lands
 * bytes by itself is the writer from asking on, and until its connection is
 * closed if it does not get them: whoever else has the chunk by then has that
 * lane's connection cut before the bytes are copied to where they belong.
 */
#ifndef WFS_TRANSPORT_FETCH_INNER_H
#define WFS_TRANSPORT_FETCH_INNER_H

#include <pthread.h>

#include "core/base/bits.h"
#include "core/base/cond.h"
#include "transport/fetch/fetch.h"

#define WFS_LANE_DEPTH 2 /* requests under way */
#define WFS_LANES_MAX  32
#define WFS_BATCH_MAX  64 /* chunks handed in at once, at most */

struct wfs_lane;
struct wfs_batch;

enum wfs_task_state {
	WFS_TASK_QUEUED,
	WFS_TASK_ASKED,
	WFS_TASK_DONE,
	WFS_TASK_FAILED,
};

struct wfs_task {
	struct wfs_task *prev, *next; /* in the queue, or among the asked */
	struct wfs_batch *batch;
	uint64_t index;	  /* of the chunk */
	void *to;	  /* NULL: to its batch's ring … */
	uint64_t ring_at; /* … there, and of the chunk … */
	uint32_t skip;	  /* … what lies behind so many bytes */
	uint32_t len;
	uint8_t state;	       /* enum wfs_task_state */
	bool ahead;	       /* nobody waits for it yet */
	bool taken;	       /* the writer is to let go */
	bool copying;	       /* the writer only copies what it has */
	bool wrong;	       /* what came of it once was */
	uint8_t replaced;      /* so many hedges were late, too */
	struct wfs_bits tried; /* peers that failed, by index */
	uint64_t retry_at;     /* ns: then those may be asked again */
	uint64_t queued_at;
	uint64_t asked_at; /* ns: of the owner */
	uint64_t hedged_at;
	struct wfs_lane *owner, *hedge, *writer;
};

struct wfs_task_list {
	struct wfs_task *head, *tail;
	unsigned n;
};

/* The chunks of one read. */
struct wfs_batch {
	struct wfs_far *far;
	struct wfs_landing *landing; /* NULL: it goes to memory */
	sem_t changed;
	unsigned told; /* how often that is posted, once all have done so */
	unsigned left; /* not DONE */
	int error;
	bool torn;	   /* bytes came that were of two epochs */
	uint64_t progress; /* ns: begun, or the last chunk done */
	/* Who asked for one of its chunks last; NULL: nobody did yet. */
	const struct wfs_lane *lane;
};

/*
 * A request under way.  Without a task its answer is for nobody; the far file
 * may be gone by then.
 */
struct wfs_slot {
	struct wfs_task *task;
	uint64_t asked_at;
	uint32_t len, tag;
	bool hedge;
	bool lands; /* by itself: its lane is the task's writer */
};

struct wfs_lane {
	struct wfs_peer *peer;
	pthread_t thread;
	void *conn; /* set and cleared under the lock */
	struct wfs_slot slots[WFS_LANE_DEPTH];
	unsigned used;
	uint32_t tag;
	bool stopped;	  /* by us: what fails now is no fault of the peer */
	bool rested;	  /* it was idle, the peer may have closed it */
	uint64_t idle_at; /* ns: since when it has nothing to do */
	uint8_t *bounce;  /* for chunks that are nobody's, or a hedge's */
	/* wake.c */
	sem_t called;		/* posted under the lock */
	struct wfs_lane *below; /* that sleeps, too */
	bool asleep;
};

struct wfs_peer {
	struct wfs_fetch *fetch;
	char *label;
	const struct wfs_lane_ops *ops;
	void *ctx;
	const struct wfs_peer *faster; /* to the same bytes; NULL: none */
	unsigned index;
	unsigned rank;
	unsigned opening; /* connections that are being made */
	/*
	 * ns: since when it owes something, or its last answer since; 0: it
	 * owes nothing.
	 */
	uint64_t quiet_since;
	struct wfs_lane lanes[WFS_LANES_MAX];
	unsigned lane_count;
	struct wfs_lane *asleep;  /* the last that went to sleep */
	struct wfs_lane *lookout; /* one of those, or NULL */
	uint64_t look_at;  /* ns: when it looks; UINT64_MAX: it need not */
	unsigned rising;   /* lanes called, and not awake yet */
	unsigned idle;	   /* connected lanes that wait for work */
	unsigned failures; /* in a row */
	bool hopeful;	   /* it answered elsewhere since the last one */
	uint64_t failed_at, retry_at;
	bool probing; /* one lane tries whether it is back */
	uint64_t quarantine_until, quarantine_ns;
	bool lied;	       /* the last chunk that came of it was wrong */
	uint64_t usual_ns;     /* from asking to having it; 0: not known */
	uint64_t delivered_at; /* ns: the last one; 0: none yet */
	uint64_t rate, rate_bytes, rate_since;
	uint64_t bytes, chunks, errors, wrong, hedges, won;
	char why[WFS_ERR_TEXT];
};

enum wfs_holder_state {
	WFS_HOLDER_HAS,
	WFS_HOLDER_LOST,  /* knows the region no more */
	WFS_HOLDER_STALE, /* its file was rewritten */
	WFS_HOLDER_WRONG, /* doubted, and rightly so */
};

struct wfs_holder {
	struct wfs_peer *peer;
	uint8_t id[WFS_WIRE_ID_BYTES];
	enum wfs_holder_state state;
};

struct wfs_far {
	struct wfs_fetch *fetch;
	char *model, *path;
	uint64_t size;
	struct wfs_far_group *group; /* NULL: none */
	struct wfs_holder *holders;  /* by their peers' index */
	unsigned holder_count;
	bool unreadable;	     /* somebody said so, and it was logged */
	bool ended;		     /* wfs_far_end */
	struct wfs_digests *digests; /* NULL until they are known */
};

struct wfs_fetch {
	struct wfs_fetch_config config;
	pthread_mutex_t lock;
	pthread_cond_t landed; /* a writer let go, a slot was freed */
	struct wfs_task_list wanted, ahead, asked;
	unsigned idle;		 /* connected lanes that wait for work */
	struct wfs_peer **peers; /* by index */
	unsigned peer_count, lane_count;
	uint64_t progress; /* ns: the last chunk done, anybody's */
	atomic_bool closing;
	unsigned landings; /* batches for device memory */
	struct wfs_landing_watch watch;
};

/* "_locked": the caller holds the lock. */

/* queue.c */
void wfs_task_queue_locked(struct wfs_fetch *fetch, struct wfs_task *task,
			   bool front, uint64_t now);
/* The chunk is not to be had for its reader any more. */
void wfs_task_fail_locked(struct wfs_task *task, int error);
/*
 * Its bytes are there.  Its batch if that was the last of them: the caller tells
 * it (wfs_batch_tell) once the lock is free, which the reader wants then.
 */
struct wfs_batch *wfs_task_done_locked(struct wfs_task *task, uint64_t now);
/* NULL is fine.  The batch may be gone on return. */
void wfs_batch_tell(struct wfs_batch *batch);
/* Its reader is to look at what became of it. */
void wfs_batch_wake_locked(struct wfs_batch *batch);
/* Lets go of the lanes that have it; waits until nobody writes to it. */
void wfs_task_recall_locked(struct wfs_fetch *fetch, struct wfs_task *task);
/* `lane` did not get it: back to the queue, unless somebody else has it. */
void wfs_task_return_locked(struct wfs_lane *lane, struct wfs_slot *slot,
			    bool blame);
/* It asks for it now, in its next slot; `hedge`: beside who was asked. */
void wfs_lane_take_locked(struct wfs_lane *lane, struct wfs_task *task,
			  bool hedge, uint64_t now);
/* Makes a lane that writes to the task's memory end. */
void wfs_lane_interrupt_locked(struct wfs_lane *lane, struct wfs_task *task);
struct wfs_holder *wfs_far_holder_locked(struct wfs_far *far,
					 const struct wfs_peer *peer);
/* Of all who had it nobody does, and all say it was rewritten. */
bool wfs_far_is_stale_locked(const struct wfs_far *far);

/* pick.c */
/*
 * Fills the lane's next slot with what it should ask for now (look_only: would
 * there be anything?).  Otherwise false, and *ret_until is when to look again
 * (UINT64_MAX: when told).
 */
bool wfs_lane_pick_locked(struct wfs_lane *lane, bool look_only, uint64_t now,
			  uint64_t *ret_until);
/*
 * May the peer be asked for it?  If only later, *until may become sooner: when
 * to look again.
 */
bool wfs_peer_may_take_locked(const struct wfs_peer *peer,
			      const struct wfs_task *task, uint64_t now,
			      uint64_t *until);
/* Does somebody wait for what only this peer, or none that is well, has? */
bool wfs_peer_is_missed_locked(const struct wfs_peer *peer, uint64_t now);

/* rank.c */
/* The peer of this holder may be asked for the file's chunks. */
bool wfs_holder_has_locked(const struct wfs_far *far,
			   const struct wfs_holder *holder);
/*
 * Is the chunk to be left to peers of an earlier rank?  *until may become
 * sooner: when that may be otherwise.
 */
bool wfs_is_for_better_locked(const struct wfs_task *task,
			      const struct wfs_peer *peer, uint64_t now,
			      uint64_t *until);
/* What it owes changed; `heard`: since it answered. */
void wfs_peer_owes_locked(struct wfs_peer *peer, bool heard, uint64_t now);
/* How long it may take for a chunk, ns. */
uint64_t wfs_peer_patience_locked(const struct wfs_peer *peer);

/* ring.c */
/* May the lane be asked for it, as far as where it goes is concerned? */
bool wfs_lane_reaches_locked(const struct wfs_lane *lane,
			     const struct wfs_task *task);
/* Why the batch is to go no further; *until becomes when to look again. */
int wfs_batch_why_not_locked(const struct wfs_batch *batch,
			     const struct wfs_task *tasks, unsigned n,
			     uint64_t *until);
/* Somebody may be able to give less than before. */
void wfs_rings_look_locked(struct wfs_fetch *fetch);
/* Of struct wfs_landing_watch. */
void wfs_rings_look(void *fetch);

/* lane.c */
void *wfs_lane_thread(void *lane);

/* wake.c */
/*
 * Sleeps until the lane is called, until `own`, or, if none of its peer's looks
 * again before, until `until`.
 */
void wfs_lane_sleep_locked(struct wfs_lane *lane, uint64_t until, uint64_t own);
/*
 * One that has slept has something to do: who looks after the rest?  `until` is
 * when its own look found that there may be more; `late`: it is about a chunk
 * that is late elsewhere, of which there may be others.
 */
void wfs_lane_relieve_locked(struct wfs_lane *lane, uint64_t until, bool late);
/* There may be something for it now. */
void wfs_peer_call_locked(struct wfs_peer *peer);
/* All its lanes have to look. */
void wfs_peer_call_all_locked(struct wfs_peer *peer);
/* There may be something for anybody. */
void wfs_fetch_call_locked(struct wfs_fetch *fetch);
/* The chunk is in the queue, the last of its batch to come there. */
void wfs_task_offer_locked(const struct wfs_task *task);

/* land.c */
/* May the lane write to where the chunk belongs?  It is the writer then. */
bool wfs_lane_claim_locked(struct wfs_lane *lane, const struct wfs_slot *slot);
/* Takes the oldest answer: 0, or why the connection cannot go on. */
int wfs_lane_receive(struct wfs_lane *lane);

/* read.c */
/* Hands in what they say, and waits: 0 or a negative errno. */
int wfs_batch_run(struct wfs_batch *batch, struct wfs_task *tasks, unsigned n);
/* Those who wait for chunks of `far` (NULL: of any) see what became of them. */
void wfs_fetch_wake_readers_locked(struct wfs_fetch *fetch,
				   const struct wfs_far *far);

/* fetch.c */
/* Its connection failed, or could not be made. */
void wfs_peer_failed_locked(struct wfs_peer *peer, const char *why);
/*
 * It sent wrong bytes: to the quarantine.  *ret_text (freed by the caller) is
 * what to log of it.
 */
void wfs_peer_lied_locked(struct wfs_peer *peer, const struct wfs_slot *slot,
			  char **ret_text);
/*
 * The same of a doubted one, which then has another file: it is not asked for
 * it any more.  *ret_text stays NULL when that is known.  Its group.
 */
uint64_t wfs_peer_differs_locked(struct wfs_peer *peer,
				 const struct wfs_slot *slot, char **ret_text);
void wfs_peer_delivered_locked(struct wfs_peer *peer,
			       const struct wfs_slot *slot, uint64_t now);
bool wfs_peer_is_usable_locked(const struct wfs_peer *peer, uint64_t now);

#endif
