/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store share; nobody else includes it.
 *
 *	session.c  opening, attaching to a mount, evicting on request
 *	store.c    acquire, release, read, residency
 *	read.c     what an object has in the arena
 *	table.c    objects by key, lists of those that nobody uses
 *	queue.c    jobs, their order, how long they will take
 *	crew.c     who does them
 *	hydrate.c  the threads that copy
 *	finish.c   what becomes of a copied file, and of who waits
 *	evict.c    room for what is wanted
 *	holding.c  which bytes of far regions are here, to be passed on
 *	keeper.c   one thread for what can wait: digests, doomed objects
 *
 * One lock guards all of it.  It is held for a few loads and stores at a
 * time, never across a system call that may block, nor a callback.
 *
 * An object's life:
 *
 *	(absent) -> HYDRATING -> RESIDENT <-> EVICTING -> (absent)
 *
 * HYDRATING has a job.  A RESIDENT object that nobody has acquired is on one
 * list: idle (least recently used first), busy (a lease was refused: somebody
 * still maps it) or doomed (to go as soon as it can).
 */
#ifndef WFS_CORE_STORE_INNER_H
#define WFS_CORE_STORE_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/store/arena.h"
#include "core/store/budget.h"
#include "core/store/digest.h"
#include "core/store/store.h"

/* Files below this are written, larger ones mapped: no huge page, no gain. */
#define WFS_MAP_MIN WFS_HUGE_PAGE
/* What one thread copies of a file before it looks for what is next. */
#define WFS_SPAN (4ull * WFS_HUGE_PAGE)
/* What making a file costs, as bytes that could be copied meanwhile. */
#define WFS_FILE_WORK (128ull << 10)
/* An object whose lease was refused is not asked again before. */
#define WFS_BUSY_NS 100000000ull

enum wfs_object_state {
	WFS_HYDRATING,
	WFS_RESIDENT,
	WFS_EVICTING,
};

struct wfs_job;
struct wfs_crew;
struct wfs_extent;
struct wfs_holding;

#define WFS_HOLDING_BUCKETS 1024

/* There may be 100,000 of these. */
struct wfs_object {
	uint64_t key;
	uint64_t size;
	struct wfs_object *chain;	/* of the hash table */
	struct wfs_object *prev, *next; /* on `list` */
	struct wfs_object_list *list;	/* NULL: on none */
	union {
		struct wfs_job *job; /* HYDRATING */
		uint64_t asked_at;   /* ns; on busy or doomed */
	};
	struct wfs_extent *extents; /* holding.c */
	int fd, id;
	uint32_t serial; /* its name in the arena */
	uint32_t users;
	uint8_t state; /* enum wfs_object_state */
	bool doomed, has_digest;
	uint8_t digest[WFS_DIGEST_BYTES];
};

struct wfs_object_list {
	struct wfs_object *head, *tail;
	uint64_t n;
};

struct wfs_table {
	struct wfs_object **slots;
	unsigned bits;
	size_t n;
};

enum wfs_job_phase {
	WFS_JOB_NEW, /* queued */
	WFS_JOB_COPYING,
	WFS_JOB_FINISHING,
};

/* One hydration. */
struct wfs_job {
	struct wfs_object *object;
	struct wfs_recipe *recipe;
	struct wfs_holding *empty; /* since its object is no more */
	struct wfs_waiter *waiters, **waiters_end;
	unsigned waiting;
	struct wfs_job *prev, *next; /* in `queue` */
	struct wfs_job_queue *queue; /* NULL: in none */
	struct wfs_crew *crew;	     /* who does it */
	enum wfs_job_phase phase;
	bool wanted;	  /* somebody waits or waited; else prefetch */
	bool scattered;	  /* it faulted in small pages */
	bool gave_way;	  /* it failed as a prefetch: try again if wanted */
	atomic_int error; /* the first one ends it */
	int fd;		  /* open for writing; -1 */
	uint8_t *map;	  /* of all of it; NULL: write instead */
	uint64_t mark;	  /* work of wanted jobs up to and with this one */
	uint64_t left;	  /* of its own work */
	unsigned active, readers; /* threads that copy, that read */
	/* Span i ends `skew` bytes before (i + 1) * WFS_SPAN. */
	uint32_t spans, next_span, skew;
	_Atomic uint64_t done[]; /* bytes copied of each span, in order */
};

struct wfs_job_queue {
	struct wfs_job *head, *tail;
};

/* How fast hydrations copy, all threads together. */
struct wfs_rate {
	uint64_t value; /* bytes/s */
	uint64_t since, bytes;
	unsigned copiers;
};

/*
 * Threads and what they have to do.  Sources far away have a crew of their
 * own: more threads, which wait for a network and keep none of the others from
 * what is near.
 */
struct wfs_crew {
	struct wfs_store *store;
	pthread_cond_t work; /* the queues */
	struct wfs_job_queue wanted, prefetch;
	unsigned prefetching;		 /* threads busy for nobody yet */
	uint64_t work_queued, work_done; /* of wanted jobs, ever */
	struct wfs_rate rate;
	uint64_t chunk; /* bytes in one read of a source */
	unsigned count; /* threads running */
	pthread_t *threads;
};

enum {
	WFS_CREW_NEAR,
	WFS_CREW_FAR, /* may have no thread: then the others do its work */
	WFS_CREWS,
};

#define WFS_FAILURES 64 /* objects, for who asks later */

struct wfs_failure {
	uint64_t key; /* 0: nobody's */
	int error;
};

struct wfs_store {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* an eviction, a reader, a job is over */
	pthread_cond_t chores;	/* for the keeper */

	struct wfs_arena arena;
	struct wfs_budget budget;
	struct wfs_exposer exposer;
	struct wfs_chunks *chunks; /* NULL: none */

	/* Chains by region. */
	struct wfs_holding *holdings[WFS_HOLDING_BUCKETS];
	struct wfs_table table;
	struct wfs_object_list idle, busy, doomed;
	struct wfs_crew crews[WFS_CREWS];
	unsigned running;  /* jobs that left the queue, not over yet */
	unsigned dropping; /* evicted objects not yet gone */
	unsigned reading;  /* threads that read a resident object */
	uint64_t reserved; /* arena bytes taken, not allocated yet … */
	uint64_t settled;  /* … and how often some were, or were given up */
	uint32_t serial;   /* the last name given */
	uint64_t files;	   /* in the arena or about to be */
	uint64_t no_room_until, no_room_size, no_room_logged;

	struct wfs_digester *digester;
	struct wfs_object *digesting;
	uint64_t *digest_keys; /* objects that need one */
	size_t digest_head, digest_tail, digest_cap;
	uint64_t ended_at;    /* ns; the last hydration */
	uint64_t digest_pace; /* ns; they are ahead of their pace till then */

	uint64_t resident_bytes, resident_files;
	uint64_t used_files; /* resident ones with users */
	uint64_t hydrated_bytes, hydrated_files, copied_bytes, failed;
	uint64_t evicted_bytes, evicted_files, refused;
	/* Whose last hydration failed, of those that did last. */
	struct wfs_failure failures[WFS_FAILURES];
	unsigned next_failure;
	uint64_t prefetched_bytes, prefetched_files;

	pthread_t keeper;

	bool digests, passes_on, attached, closing, has_keeper;
	bool keeper_sleeps;	 /* until it is signalled */
	atomic_bool quit;	 /* hydrations are to end */
	atomic_bool digest_stop; /* the keeper is to leave its object */
};

/* "_locked": the caller holds the lock. */

/* table.c */
void wfs_table_init(struct wfs_table *table);
void wfs_table_free(struct wfs_table *table);
struct wfs_object *wfs_table_find(const struct wfs_table *table, uint64_t key);
void wfs_table_add(struct wfs_table *table, struct wfs_object *object);
void wfs_table_remove(struct wfs_table *table, struct wfs_object *object);
/* The keys with `key & mask == value`; the caller frees *ret_keys. */
size_t wfs_table_keys(const struct wfs_table *table, uint64_t mask,
		      uint64_t value, uint64_t **ret_keys);
void wfs_list_add(struct wfs_object_list *list, struct wfs_object *object);
void wfs_list_remove(struct wfs_object *object);

/* The object, waiting out an eviction under way; NULL if absent. */
struct wfs_object *wfs_object_find_locked(struct wfs_store *store,
					  uint64_t key);
/* One more, one less who holds a RESIDENT object. */
void wfs_object_use_locked(struct wfs_store *store, struct wfs_object *object);
void wfs_object_unuse_locked(struct wfs_store *store,
			     struct wfs_object *object);
/* Puts an object that nobody uses on the list where it belongs. */
void wfs_object_park_locked(struct wfs_store *store, struct wfs_object *object);

/* finish.c */
void wfs_failure_forget_locked(struct wfs_store *store, uint64_t key);
/* 0: none is known. */
int wfs_failure_find_locked(const struct wfs_store *store, uint64_t key);

/* read.c */
/* How many bytes from `off` on, at most `len`, are in the arena. */
size_t wfs_object_copied_locked(const struct wfs_object *object, uint64_t off,
				size_t len);
/*
 * Reads them: less than `len` where there are no more, 0 for none.  Drops the
 * lock meanwhile.  Not of an object that is EVICTING.
 */
ssize_t wfs_object_read_locked(struct wfs_store *store,
			       struct wfs_object *object, void *buf, size_t len,
			       uint64_t off);
/* As wfs_store_use, the lock dropped meanwhile. */
bool wfs_object_use_bytes_locked(struct wfs_store *store,
				 struct wfs_object *object, size_t len,
				 uint64_t off, const struct wfs_use *use);
/* As struct wfs_chunks_holder has it; `store` is a store. */
bool wfs_held_read(void *store, struct wfs_region *region, void *buf,
		   size_t len, uint64_t off);

/* queue.c */
/* Takes `recipe` over. */
struct wfs_job *wfs_job_new(struct wfs_object *object,
			    struct wfs_recipe *recipe);
void wfs_job_free(struct wfs_job *job); /* call it without the lock */
/* Where in the file a span begins; one past the last: the file's size. */
uint64_t wfs_job_span_start(const struct wfs_job *job, uint32_t span);
void wfs_job_wait_locked(struct wfs_job *job, struct wfs_waiter *waiter);
bool wfs_job_cancel_locked(struct wfs_job *job, struct wfs_waiter *waiter);
/* Its first error; `gave_way`: one that who wants it need not have. */
void wfs_job_fail_locked(struct wfs_job *job, int error, bool gave_way);
/* Queues a job that offers work, at the front if it is under way. */
void wfs_queue_add_locked(struct wfs_job *job);
void wfs_queue_remove_locked(struct wfs_job *job);
/* The job to do next, or NULL. */
struct wfs_job *wfs_queue_next_locked(struct wfs_crew *crew);
/* Somebody waits for what was a prefetch. */
void wfs_queue_promote_locked(struct wfs_job *job);
/* `bytes` of its work were done. */
void wfs_queue_progress_locked(struct wfs_job *job, uint64_t bytes);
/* Predicted, until the job is over. */
uint64_t wfs_queue_wait_ns_locked(const struct wfs_job *job);
void wfs_rate_begin(struct wfs_rate *rate);
void wfs_rate_add(struct wfs_rate *rate, uint64_t bytes);
void wfs_rate_end(struct wfs_rate *rate);

/* crew.c */
/* Starts both crews: 0 or a negative errno, and wfs_crews_stop all the same. */
int wfs_crews_start_locked(struct wfs_store *store,
			   const struct wfs_store_config *config);
/* Ends them, once `closing` is set.  Called without the lock. */
void wfs_crews_stop(struct wfs_store *store);
/* Whose work it is to read that recipe. */
struct wfs_crew *wfs_crew_of(struct wfs_store *store,
			     const struct wfs_recipe *recipe);
/* A queued job of any crew, or NULL. */
struct wfs_job *wfs_crews_queued_locked(const struct wfs_store *store);

/* hydrate.c */
void *wfs_hydrate_thread(void *crew);

/* finish.c */
/*
 * Ends a job that no thread works on and that is in no queue.  Drops the
 * lock meanwhile; the job is freed.
 */
void wfs_job_finish_locked(struct wfs_store *store, struct wfs_job *job);
/* Ends a queued job with an error; the same holds. */
void wfs_job_abort_locked(struct wfs_store *store, struct wfs_job *job,
			  int error);

/* evict.c */
/*
 * Reserves room for `bytes` in the arena, the budget and the descriptors,
 * evicting if `evict`, and waiting for others who are about to allocate.  0 or
 * -ENOSPC.  Called without the lock.
 */
int wfs_room_take(struct wfs_store *store, uint64_t bytes, bool evict);
/* What was taken is allocated now, or was given up. */
void wfs_room_settle(struct wfs_store *store, uint64_t bytes, bool allocated);
/* -ENOSPC at once, for a while after room was looked for in vain. */
bool wfs_room_is_short_locked(const struct wfs_store *store, uint64_t size);
/*
 * Evicts a RESIDENT object without users unless somebody maps it.  Drops the
 * lock meanwhile; false if it had to stay.
 */
bool wfs_evict_object_locked(struct wfs_store *store,
			     struct wfs_object *object);
/* The session is over: all go, whoever uses them. */
void wfs_evict_all_locked(struct wfs_store *store);

/* holding.c */
/* Is it a stretch of a region that is far, unchanged? */
bool wfs_piece_is_plain(const struct wfs_piece *piece);
/* The object, whose hydration begins, is made of these. */
void wfs_holding_add_locked(struct wfs_store *store, struct wfs_object *object,
			    const struct wfs_recipe *recipe);
/* Not any more; what is left of nothing is freed without the lock. */
struct wfs_holding *wfs_holding_remove_locked(struct wfs_store *store,
					      struct wfs_object *object);
void wfs_holdings_free(struct wfs_holding *empty);
/* As many bytes at `off` as one object has by now; 0, or a negative errno. */
ssize_t wfs_holding_read(struct wfs_store *store,
			 const struct wfs_region *region, void *buf, size_t len,
			 uint64_t off);

/* keeper.c */
void *wfs_keeper_thread(void *store);
void wfs_keeper_digest_locked(struct wfs_store *store,
			      struct wfs_object *object);

#endif
