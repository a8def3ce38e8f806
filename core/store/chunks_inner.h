/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the chunk cache share; nobody else includes it.
 *
 *	chunks.c       finding, fetching, giving out
 *	chunk_flights.c  chunks that go past the cache, or come from elsewhere
 *		       on this node
 *	chunk_pages.c  who had which of their pages
 *	chunk_slots.c  the memory
 *	chunk_keeper.c opening and closing, what becomes of chunks that
 *		       nobody uses
 *
 * One lock guards all of it; "_locked": the caller holds it.  Chunks that go
 * are put on `dead` and freed by wfs_chunks_unlock, since letting go of the
 * last reference to a source closes it.
 */
#ifndef WFS_CORE_STORE_CHUNKS_INNER_H
#define WFS_CORE_STORE_CHUNKS_INNER_H

#include <pthread.h>

#include "core/store/arena.h"
#include "core/store/budget.h"
#include "core/store/chunks.h"
#include "core/store/windows.h"

#define WFS_CHUNK_PAGES (WFS_CHUNK_BYTES / WFS_PAGE)
/* Memory is taken and given back in huge pages, which hold so many chunks. */
#define WFS_SLAB_CHUNKS (WFS_HUGE_PAGE / WFS_CHUNK_BYTES)

/* A page that was fetched and nobody asked for yet. */
#define WFS_PAGE_UNASKED 255

struct wfs_chunk {
	struct wfs_region *region;     /* with a reference to its source */
	uint64_t index;		       /* of the chunk in its region */
	struct wfs_chunk *chain;       /* of the hash table */
	struct wfs_chunk *prev, *next; /* idle, or dead */
	uint64_t used_at;	       /* ns; the last time */
	uint32_t slot;
	unsigned users;
	unsigned failures; /* fetches that failed */
	int error;	   /* of the last one */
	bool fetching, hashed;
	uint16_t valid, done; /* pages that are there; that all have had */
	uint64_t pages[WFS_CHUNK_PAGES / 64]; /* which are there */
	uint8_t left[WFS_CHUNK_PAGES];	      /* files that still want it */
};

/*
 * Whole chunks of a far region on their way straight to a reader, or there and
 * not to be found elsewhere yet.
 */
struct wfs_flight {
	struct wfs_flight *next, *own; /* `own`: of the same thread */
	struct wfs_region *region;
	uint64_t off, end;
	char *to;
	unsigned users; /* who copy from there, or will */
	int error;
	bool over;
};

struct wfs_chunks {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a fetch ended */
	pthread_cond_t chores;	/* for the keeper */
	pthread_t keeper;
	bool has_keeper, keeper_sleeps, closing, stopped;
	uint64_t keep_ns;

	struct wfs_chunk **table;
	size_t buckets;		       /* a power of two */
	struct wfs_chunk *head, *tail; /* idle, the oldest first */
	struct wfs_chunk *dead;
	struct wfs_flight *flights;
	struct wfs_chunks_holder holder;
	struct wfs_windows *windows;
	bool windows_begun; /* since the keeper looked */

	struct wfs_budget budget;
	char *memory; /* all slots; address space until it is used */
	size_t span;  /* of the mapping */
	void *mapping;
	uint32_t slots;
	uint32_t *warm, warm_count; /* free slots that have memory */
	uint32_t *cold, cold_count; /* slabs that have none */
	uint64_t taken_at;	    /* ns; the last slot */

	uint64_t kept, fetched, held, served, waited, evicted;
};

static inline char *wfs_chunk_data(const struct wfs_chunks *chunks,
				   const struct wfs_chunk *chunk)
{
	return chunks->memory + chunk->slot * WFS_CHUNK_BYTES;
}

static inline uint64_t wfs_chunk_start(const struct wfs_chunk *chunk)
{
	return chunk->index * WFS_CHUNK_BYTES;
}

/* Bytes of the chunk: less than WFS_CHUNK_BYTES at the end of the region. */
static inline uint64_t wfs_chunk_size(const struct wfs_chunk *chunk)
{
	return wfs_chunk_len(chunk->region->size, chunk->index);
}

/* Far away: then it is fetched in whole chunks, and by one of us. */
static inline bool wfs_chunk_is_far(struct wfs_region *region)
{
	return wfs_region_descriptor(region) < 0;
}

/* chunk_flights.c */
bool wfs_flight_has_locked(const struct wfs_chunks *chunks,
			   const struct wfs_region *region, uint64_t index);
/* Begins one; frees it, too, now or when the thread lets go of it. */
void wfs_flight_add_locked(struct wfs_chunks *chunks, struct wfs_region *region,
			   void *to, size_t len, uint64_t off,
			   struct wfs_flight **ret_flight);
int wfs_flight_run(struct wfs_chunks *chunks, struct wfs_flight *flight);
/*
 * Does the thread, which had some of it now, hold it as one who uses it?  Until
 * it lets go.
 */
bool wfs_chunk_hold_locked(struct wfs_chunk *chunk);
/*
 * Bytes of one chunk: from a flight, from a holder, else from the source.
 * 0 or a negative errno; without the lock.
 */
int wfs_chunk_obtain(struct wfs_chunks *chunks, struct wfs_region *region,
		     void *buf, size_t len, uint64_t off);

/* chunks.c */
void wfs_chunk_unuse_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk);

/* chunk_pages.c */
/* Those of `ref` were had by one more of those that want them. */
void wfs_chunk_pass_locked(struct wfs_chunk *chunk,
			   const struct wfs_chunk_ref *ref);

/* chunk_slots.c */
int wfs_slots_open(struct wfs_chunks *chunks, uint64_t bytes);
void wfs_slots_close(struct wfs_chunks *chunks);
/* A slot, evicting for it; false: there is none.  Without the lock. */
bool wfs_slot_take(struct wfs_chunks *chunks, uint32_t *ret_slot);
void wfs_slot_give_locked(struct wfs_chunks *chunks, uint32_t slot);
/* Memory of free slabs goes back.  Drops the lock meanwhile. */
void wfs_slots_shrink_locked(struct wfs_chunks *chunks);

/* chunk_keeper.c */
void wfs_chunks_unlock(struct wfs_chunks *chunks);
void wfs_chunk_idle_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk);
void wfs_chunk_busy_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk);
/* Nobody uses it, and it is on no list. */
void wfs_chunk_bury_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk);
/* Nobody finds it any more. */
void wfs_chunk_unhash_locked(struct wfs_chunks *chunks,
			     struct wfs_chunk *chunk);
struct wfs_chunk **wfs_chunk_bucket(const struct wfs_chunks *chunks,
				    const struct wfs_region *region,
				    uint64_t index);

#endif
