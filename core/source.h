/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where bytes come from.
 *
 * A source lists the files of one checkpoint and answers reads of their
 * regions.  A local directory is one; a seed over HTTP or RDMA, an origin web
 * server and the memory of a running engine are others.  Backends implement
 * `struct wfs_source_ops`; everybody else calls the functions below, which
 * clamp, check, count and log once, so that backends stay small.
 *
 * Threads: after `open`, every operation may be called from any number of
 * threads at once, also for one region.  Calls block; nobody may call with a
 * lock held.
 */
#ifndef WFS_CORE_SOURCE_H
#define WFS_CORE_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/base/err.h"
#include "core/digest/digests.h"
#include "core/digest/trust.h"
#include "core/landing.h"

struct wfs_source;
struct wfs_chunks;
struct wfs_live;

/* Addressable bytes at a source.  Immutable; belongs to its source. */
struct wfs_region {
	struct wfs_source *source;
	const char *path;	 /* relative to the checkpoint, for messages */
	uint64_t size;		 /* bytes */
	atomic_bool failed_once; /* the wrapper logged a failure already */
	atomic_bool stale;	 /* rewritten in place: sticky */
	void *head;		 /* its first bytes, see wfs_region_keep */
	uint64_t head_len;
};

/* One file or directory of a listing.  All pointers belong to the source. */
struct wfs_source_entry {
	const char *path; /* relative, '/'-separated, no leading '/' */
	struct stat st;	  /* as the file itself has it, links followed */
	struct wfs_region *region; /* NULL for a directory */
};

struct wfs_known_digests {
	uint8_t root[WFS_DIGEST_MAX];
	const struct wfs_digests *list; /* the source's; NULL: not known yet */
};

struct wfs_source_ops {
	const char *name; /* "file", "http", … as in user.weightfs.source */
	/*
	 * Of other nodes: a read may wait for a network, so that many at once
	 * are faster, but ask wfs_region_is_far.  Its label is a URL, which
	 * says where it is by itself.
	 */
	bool far;

	/*
	 * The listing: every directory before what lies in it, otherwise in
	 * byte order of the paths.  Complete and fixed from `open` on.
	 */
	const struct wfs_source_entry *(*list)(struct wfs_source *src,
					       size_t *ret_count);

	/*
	 * Reads exactly `len` bytes at `off`, which lie within the region
	 * (the wrapper has seen to it).  0, or a negative errno: -EIO when
	 * the bytes cannot be had, -EBADMSG when those that came do not match
	 * their digest, -EHOSTUNREACH when nobody who has them is to be
	 * reached, -ESTALE when they are not the bytes that were listed.  A
	 * short read is an error: the region is immutable.
	 */
	int (*read)(struct wfs_region *region, void *buf, size_t len,
		    uint64_t off);

	/*
	 * Lands exactly `len` bytes at `off` of the region in the device
	 * memory that `landing` names; both lie where they may (the wrapper
	 * has seen to it).  0; or -ENOTSUP, at once and as often as it is
	 * asked: the caller goes by `read`.  So it is where the bytes have a
	 * digest that is to be checked, which takes them on this host; where
	 * they do not come by RDMA, just now or ever, or lie in too many
	 * pieces, or only beside the memory that RDMA reads; and where no
	 * device registers that memory.  -ESTALE as with `read`; -ECANCELED,
	 * and what wfs_landing_why_stop says.
	 *
	 * Whatever it returns: nothing is written there any more, and if not
	 * 0 anything may have been.  May be NULL.
	 */
	int (*land)(struct wfs_region *region, struct wfs_landing *landing,
		    size_t len, uint64_t off);

	/*
	 * A read-only descriptor whose file equals the region byte for byte,
	 * borrowed for the life of the source; -ENOTSUP where there is none,
	 * which may be so at first only.  May be NULL.
	 */
	int (*descriptor)(struct wfs_region *region);

	/*
	 * Cheap: is the region still what was listed?  0 or -ESTALE.  May be
	 * NULL for a source that cannot change.
	 */
	int (*check)(struct wfs_region *region);

	/*
	 * What is known of the region's digests from who stands behind it;
	 * false: nothing yet.  NULL: nothing ever, bytes here are their own
	 * proof.  Cheap.
	 */
	bool (*digests)(struct wfs_region *region,
			enum wfs_digest_algorithm algorithm,
			struct wfs_known_digests *ret);

	/*
	 * What stands behind the bytes that `read` gives.  The same from
	 * `open` on.  NULL: nothing does.
	 */
	enum wfs_trust (*trust)(struct wfs_region *region);

	/*
	 * The SHA-256 of the digest manifest that its bytes are held against
	 * (core/digest/digest_tree.h), or NULL; the source's.  NULL: they
	 * never are.  Cheap.
	 */
	const uint8_t *(*tree)(struct wfs_source *src);

	void (*close)(struct wfs_source *src);
};

/* The base that backends embed first. */
struct wfs_source {
	const struct wfs_source_ops *ops;
	char *label; /* the directory or URL, for messages; freed by put */
	/*
	 * The nodes that its bytes come by, the nearest first: their ids with
	 * a blank between.  NULL: none, it is of this node.  Set by the
	 * backend, freed by put.
	 */
	char *via;
	/*
	 * What keeps bytes of it that several files want (core/store/chunks.h;
	 * NULL: nothing does).  Set by who opens the source, before it is
	 * shared, and alive as long as something of it is read.
	 */
	struct wfs_chunks *chunks;
	/*
	 * Its regions are the memory of an engine, of some of its ranks
	 * (core/live.h); NULL: they are not.  The backend's, from `open` on.
	 */
	const struct wfs_live *live;
	atomic_uint refs;
	atomic_ullong bytes_read, errors;
};

/* For backends: fills the base, one reference held by the caller. */
void wfs_source_init(struct wfs_source *src, const struct wfs_source_ops *ops,
		     const char *label);

struct wfs_source *wfs_source_get(struct wfs_source *src);
/* Drops a reference; the last one closes.  NULL is fine. */
void wfs_source_put(struct wfs_source *src);

const struct wfs_source_entry *wfs_source_list(struct wfs_source *src,
					       size_t *ret_count);
/* That of a path, or NULL. */
const struct wfs_source_entry *wfs_source_entry_of(struct wfs_source *src,
						   const char *path);

/*
 * Reads up to `len` bytes at `off`; short only at the end of the region, 0
 * past it.  Otherwise a negative errno; the first failure of a region is
 * logged with its path, all are counted.
 */
ssize_t wfs_region_read(struct wfs_region *region, void *buf, size_t len,
			uint64_t off);

/* All `len` bytes at `off`: 0 or a negative errno, -EIO when it ends before. */
int wfs_region_read_exactly(struct wfs_region *region, void *buf, size_t len,
			    uint64_t off);

/*
 * The same for who parses what it reads, where -EBADMSG means that its form is
 * wrong: -EIO in place of that and of -EHOSTUNREACH, which may pass.
 */
int wfs_region_read_parsed(struct wfs_region *region, void *buf, size_t len,
			   uint64_t off);

/*
 * Reads `n` stretches that follow each other from `off`, all within the
 * region, each to its own place: 0 or a negative errno.  One call where the
 * region has a descriptor.
 */
int wfs_region_readv(struct wfs_region *region, const struct iovec *parts,
		     int n, uint64_t off);

/*
 * All `len` bytes at `off`, in device memory: as `land` of struct
 * wfs_source_ops has it; -ERANGE: they do not lie in the region, or not in the
 * ring.  -ENOTSUP also for what is kept here (wfs_region_keep), and where the
 * region has a descriptor.
 */
int wfs_region_land(struct wfs_region *region, struct wfs_landing *landing,
		    size_t len, uint64_t off);

/*
 * Keeps a copy of the first `len` bytes (the caller's `bytes`) until the
 * source closes: reads within them ask the source no more.  For the headers
 * of shard files that lie far away.  Before the region is shared, and once.
 */
void wfs_region_keep(struct wfs_region *region, const void *bytes,
		     uint64_t len);

/*
 * What somebody found who read by way of the descriptor: as if a read had
 * failed with `code`, which is counted, and said once.
 */
void wfs_region_note_failure(struct wfs_region *region, int code);

int wfs_region_descriptor(struct wfs_region *region);
/* Bytes that were had by way of the descriptor. */
void wfs_region_count(struct wfs_region *region, uint64_t bytes);

/*
 * Do its bytes come over a network?  Not those of a far source that has a
 * descriptor of them: it was lent one on this host.
 */
bool wfs_region_is_far(struct wfs_region *region);

/*
 * Says that what this thread reads from now on is read ahead: nobody waits
 * for it yet.  Sources that queue serve what is wanted first.
 */
void wfs_read_ahead(bool ahead);
bool wfs_reading_ahead(void);

/* As struct wfs_source_ops has it; the root and the list of that kind. */
bool wfs_region_digests(struct wfs_region *region,
			enum wfs_digest_algorithm algorithm,
			struct wfs_known_digests *ret);

/*
 * Says that what this thread reads from now on it reads in passing: a
 * hydration is likely to want the same bytes once more.
 */
void wfs_read_in_passing(bool passing);
bool wfs_reading_in_passing(void);

/* 0 or -ESTALE.  The first -ESTALE of a region is logged; it is sticky. */
int wfs_region_check(struct wfs_region *region);

enum wfs_trust wfs_region_trust(struct wfs_region *region);
/* The least of its regions; `none` for a source without any. */
enum wfs_trust wfs_source_trust(struct wfs_source *src);
/* 0, or -EPERM with a sentence that names a file worth less than `least`. */
int wfs_source_check_trust(struct wfs_source *src, enum wfs_trust least,
			   struct wfs_err *err);

#endif
