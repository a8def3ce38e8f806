/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the book share; nobody else includes it.
 *
 *	book.c	   the book: its table, queue, threads, who is told
 *	page.c	   one file: its lists, its notes, who waits
 *	compute.c  reading a file, on a thread of the book
 *	shelf.c	   the directory that lists are kept in
 *
 * The threads run at low priority and may be put aside while they hold the
 * lock, so nobody who serves bytes needs it: known lists are published by an
 * atomic pointer, notes by an atomic state each.
 */
#ifndef WFS_CORE_DIGEST_BOOK_INNER_H
#define WFS_CORE_DIGEST_BOOK_INNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include "core/digest/book.h"
#include "core/digest/kept.h"

#define WFS_BOOK_BUCKETS 1024u
/* Lists are indexed by algorithm - 1. */
#define WFS_BOOK_KINDS 2

/* What a file is known by: after a change of any of it, it is another. */
struct wfs_file_key {
	uint64_t dev, ino, size;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
};

struct wfs_file_key wfs_file_key_of(const struct stat *st);
bool wfs_file_key_equal(const struct wfs_file_key *a,
			const struct wfs_file_key *b);
/* Was it changed so recently that one more change might not show? */
bool wfs_file_key_young(const struct wfs_file_key *key);

/* Lists are kept on a shelf; NULL keeps nothing. */

/* The list that was kept of this file, or NULL; the caller frees it. */
struct wfs_digests *wfs_shelf_load(struct wfs_kept *shelf,
				   const struct wfs_file_key *key,
				   enum wfs_digest_algorithm algorithm);
/* Keeps it, in the place of what was kept of the same inode before. */
void wfs_shelf_save(struct wfs_kept *shelf, const struct wfs_file_key *key,
		    const struct wfs_digests *list);

enum wfs_page_state {
	WFS_PAGE_IDLE,
	WFS_PAGE_QUEUED,
	WFS_PAGE_RUNNING,
};

/* XXH3 digests of single chunks, before the list is whole. */
struct wfs_notes {
	atomic_uchar *state; /* of each chunk */
	uint8_t *digests;
	atomic_ullong count;
};

struct wfs_page {
	struct wfs_book *book;
	struct wfs_file_key key;
	int fd; /* -1: there are only bytes */
	struct wfs_page_bytes bytes;
	char *path; /* for messages */
	bool young; /* when it was opened: notes may be of other bytes */
	_Atomic(struct wfs_digests *) lists[WFS_BOOK_KINDS];
	_Atomic(struct wfs_notes *) notes;
	atomic_uint wanted; /* bit kind: somebody asked for the list */
	atomic_bool left;   /* nobody has it open: compute no further */

	/* Under the book's lock. */
	unsigned refs;
	enum wfs_page_state state;
	int failed[WFS_BOOK_KINDS]; /* 0, or why there is no list */
	uint64_t failed_at[WFS_BOOK_KINDS];
	struct wfs_page *next;	     /* in its bucket */
	struct wfs_page *queue_next; /* when queued */
};

struct wfs_book {
	pthread_mutex_t lock;
	pthread_cond_t work;	/* something was queued, or the end */
	pthread_cond_t changed; /* a list is known, failed, or a call ended */
	atomic_bool stop;
	struct wfs_kept *shelf;
	struct wfs_page *buckets[WFS_BOOK_BUCKETS];
	struct wfs_page *queue_head, **queue_tail;
	pthread_t *threads;
	unsigned thread_count;
	void (*known)(void *ctx, struct wfs_page *page);
	void *known_ctx;
	unsigned calls; /* of `known` that run */
};

static inline unsigned wfs_kind(enum wfs_digest_algorithm algorithm)
{
	return (unsigned)algorithm - 1;
}

/* Behind the others in the queue, unless it is there or runs already. */
void wfs_book_queue_locked(struct wfs_book *book, struct wfs_page *page);
/* Out of the queue, if it is there. */
void wfs_book_unqueue_locked(struct wfs_book *book, struct wfs_page *page);
void wfs_page_free(struct wfs_page *page);

/*
 * Reads the file for a list (for SHA-256 it notes the XXH3-128 of the chunks
 * as well): 0, -ECANCELED (the book or the page was closed), -ESTALE, or what
 * reading failed with.  `buffer` has WFS_CHUNK bytes.  Called with no lock
 * held.
 */
int wfs_page_compute(struct wfs_page *page, enum wfs_digest_algorithm algorithm,
		     void *buffer, struct wfs_digests **ret_list);

#endif
