/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: where virtual files live on this node.
 *
 * The only code that allocates, exposes and evicts in the arena.  An object
 * is one virtual file, known by a key (its stable inode number); it is
 * absent, hydrating or resident.  Resident means: all bytes, verified, in one
 * arena file that is registered ("exposed") for passthrough.
 *
 * Rules, each paid for with a probe:
 * - Size is set and space allocated before a byte is written; what does not
 *   fit in the arena, the cgroup or the machine is not hydrated, and the
 *   caller serves it by wfs_store_read.  Never an error, never a kill.
 * - Exposed bytes never change.  Evicting is unexpose, unlink, close, and
 *   only when nobody has the object acquired and a write lease on its only
 *   descriptor says that nobody holds or maps it.
 * - The budget is what fstatfs of the arena says, never a count of opens.
 * - No lock is held across I/O.
 *
 * Threads: every function may be called from any thread, none with a lock
 * of the caller's that a `done` callback also takes.
 */
#ifndef WFS_CORE_STORE_STORE_H
#define WFS_CORE_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/err.h"
#include "core/plan/recipe.h"

struct wfs_store;
struct wfs_chunks;

/* How the FUSE side registers an arena file with the kernel. */
struct wfs_exposer {
	void *ctx;
	/* A backing id > 0, or a negative errno.  `fd` stays the store's. */
	int (*expose)(void *ctx, int fd);
	void (*unexpose)(void *ctx, int id);
};

struct wfs_store_config {
	uint64_t arena_size; /* bytes; 0 = a quarter of memory */
	unsigned hydrators;  /* threads; 0 = as many as CPUs, 2 to 16 */
	/*
	 * Threads for sources that are far away, which wait rather than copy;
	 * 0 = none of their own.
	 */
	unsigned far_hydrators;
	uint64_t chunk; /* bytes in one read of a source; 0 = 1 MiB */
	bool passes_on; /* wfs_store_find and its kin are going to be asked */
	bool digests;	/* XXH3-128 of each file, after it is exposed */
	/* Stopped by detach and started by attach, so that hydrations that
	   wait for it end; NULL: none.  The caller's. */
	struct wfs_chunks *chunks;
};

/*
 * -EPERM/-ENOSYS … with a sentence when there can be no arena here (no
 * privilege, no tmpfs): the caller goes on without a store and says so.
 *
 * Sets SIGIO to be ignored if it has its default action, and keeps below the
 * soft limit on descriptors: one for each resident file, so raise it first.
 */
int wfs_store_open(const struct wfs_store_config *config,
		   struct wfs_store **ret_store, struct wfs_err *err);

/*
 * From now on hydrated files are exposed through `exposer`.  Before it, and
 * after wfs_store_detach, nothing is hydrated.  Detach finishes when no
 * callback of the exposer or of a waiter runs or will run; waiters get
 * -ESHUTDOWN.  It waits for reads of sources that are under way, and takes
 * every object out of the arena, whoever has it acquired: who maps one keeps
 * its bytes.  Not to be called from a callback.
 */
void wfs_store_attach(struct wfs_store *store, struct wfs_exposer exposer);
void wfs_store_detach(struct wfs_store *store);

void wfs_store_close(struct wfs_store *store); /* NULL is fine */

/*
 * Somebody who waits for a hydration.  Owned by the caller from
 * wfs_store_acquire (-EINPROGRESS) until `done` was called or
 * wfs_store_cancel returned true.
 */
struct wfs_waiter {
	/*
	 * Once, from a thread of the store with no lock held: the backing id
	 * (> 0; the object is acquired for the waiter, who must release it),
	 * or a negative errno.
	 */
	void (*done)(struct wfs_waiter *waiter, int result);
	struct wfs_waiter *next; /* the store's */
	uint64_t key;		 /* the store's */
};

/*
 * Wants the object for a passthrough open.
 *
 * > 0            backing id; acquired, call wfs_store_release at RELEASE
 * -EINPROGRESS   being hydrated (from now on, if need be); `waiter` is queued
 *                and *ret_wait_ns the predicted time until it is done
 * -ENOSPC        pinned full, over the budget, or doomed: serve by
 *                wfs_store_read
 * -ESHUTDOWN     not attached
 *
 * A waiter gets the same, or what the source failed with (-EIO, -ESTALE …):
 * the object is absent again then and may be tried again.
 *
 * `waiter` may be NULL: then the hydration is started all the same and
 * nothing is queued.  Keys are reused for other bytes (a checkpoint that was
 * read again) only after wfs_store_evict with `doom`.
 */
int wfs_store_acquire(struct wfs_store *store, uint64_t key,
		      const struct wfs_recipe *recipe,
		      struct wfs_waiter *waiter, uint64_t *ret_wait_ns);

/* False: `done` was or is being called.  True: it will not be called. */
bool wfs_store_cancel(struct wfs_store *store, struct wfs_waiter *waiter);

void wfs_store_release(struct wfs_store *store, uint64_t key);

/*
 * The file of an object that the caller has acquired, open for reading: the
 * store's, until it is released.  -ENODATA: it is not resident.
 */
int wfs_store_descriptor(struct wfs_store *store, uint64_t key);

/*
 * Queues a hydration behind all that somebody waits for.  Gives way: never
 * evicts.  0, or as wfs_store_acquire.
 */
int wfs_store_prefetch(struct wfs_store *store, uint64_t key,
		       const struct wfs_recipe *recipe);

/* Prefetches with `key & mask == value` that have not begun are not wanted. */
void wfs_store_give_up(struct wfs_store *store, uint64_t mask, uint64_t value);

/*
 * Bytes for a cached-mode reader: from the arena as far as hydrated, else
 * straight from the recipe's sources, ahead of everything.  As
 * wfs_recipe_read.
 */
ssize_t wfs_store_read(struct wfs_store *store, uint64_t key,
		       const struct wfs_recipe *recipe, void *buf, size_t len,
		       uint64_t off);

/* What to do with bytes that are shown for as long as `with` runs. */
struct wfs_use {
	void (*with)(void *ctx, const void *bytes, size_t len);
	void *ctx;
};

/*
 * The same without a copy, and without waiting for anything: `use` is called
 * once, with `len` bytes (up to the file's end) where they are mapped.  False:
 * it was not, since some of them are not in the arena (yet), or not worth a
 * map; then read them.
 */
bool wfs_store_use(struct wfs_store *store, uint64_t key, size_t len,
		   uint64_t off, const struct wfs_use *use);

struct wfs_residency {
	uint64_t bytes; /* in the arena now */
	bool resident;	/* all of them */
	bool hydrating; /* on their way */
	int error;	/* they were, in vain; see wfs_store_forget_failure */
	bool has_digest;
	char digest[48]; /* "xxh3-128:<32 hex digits>" */
};

/* Fills all zero for an absent object but `error`. */
void wfs_store_residency(struct wfs_store *store, uint64_t key,
			 struct wfs_residency *ret_residency);

/*
 * From now on `error` tells of what fails from now on: who looks now and then
 * would not see it where somebody else tries again at once.  It is forgotten by
 * itself when the object is resident, and when 64 others failed since.
 */
void wfs_store_forget_failure(struct wfs_store *store, uint64_t key);

/*
 * Evicts every object with `key & mask == value` that nobody uses (all:
 * mask 0, value 0), with its digest, and prefetches of them that have not
 * begun.  With `doom` those that are in use or being hydrated go as soon as
 * they are idle, and until then nobody is given them anew: they are not
 * acquired, and wfs_store_read goes to the sources.  All: what the chunk
 * cache keeps for others goes, too.  Returns the bytes freed now.
 */
uint64_t wfs_store_evict(struct wfs_store *store, uint64_t mask, uint64_t value,
			 bool doom);

/* Bytes of the resident objects with `key & mask == value`. */
uint64_t wfs_store_resident_bytes(struct wfs_store *store, uint64_t mask,
				  uint64_t value);

/*
 * Bytes of far regions that lie in the arena, in one piece and verified, in
 * files made of them as they are.  Of a store that `passes_on`; nothing is
 * kept from being evicted by any of these.
 */
struct wfs_found {
	int fd; /* the caller's, who closes it: its bytes never change */
	uint64_t off, len;
};

/* The bytes at `off`, up to `len`: 0, -ENODATA when they are not here. */
int wfs_store_find(struct wfs_store *store, const struct wfs_region *region,
		   uint64_t off, uint64_t len, struct wfs_found *ret_found);
/* How many from `off` on would be found, one after another; at most `len`. */
uint64_t wfs_store_finds(struct wfs_store *store,
			 const struct wfs_region *region, uint64_t off,
			 uint64_t len);
/* How many of all of it. */
uint64_t wfs_store_holds(struct wfs_store *store,
			 const struct wfs_region *region);
/*
 * A descriptor of a file that equals the region, opened for whoever borrows
 * it: as long as it is open or mapped anywhere the file counts as used.
 * -ENOTSUP.
 */
int wfs_store_lend(struct wfs_store *store, const struct wfs_region *region);

struct wfs_store_stats {
	uint64_t arena_bytes; /* the bound */
	uint64_t arena_used;  /* as fstatfs says */
	uint64_t resident_bytes, resident_files, pinned_files;
	uint64_t hydrated_bytes, hydrated_files, failed;
	uint64_t evicted_bytes, evicted_files;
	uint64_t copied_bytes; /* so far, also of files not whole yet */
	uint64_t queued_files; /* hydrations that wait for a thread … */
	uint64_t queued_bytes; /* … and what these have left to copy */
	/* Files hydrated and queued for nobody yet, and bytes of the former. */
	uint64_t prefetched_files, prefetched_bytes, prefetch_queued;
	uint64_t refused;   /* acquire said -ENOSPC */
	uint64_t copy_rate; /* bytes/s, measured by the hydrators */
	bool huge;	    /* the arena has huge pages */
};

void wfs_store_stats(struct wfs_store *store, struct wfs_store_stats *ret);

#endif
