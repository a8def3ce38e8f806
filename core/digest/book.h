/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests of local files, computed once and kept; and of bytes that are in
 * no file, such as an engine's memory, as long as they are looked at.
 *
 * A book computes the chunk digests of a file when they are first asked for:
 * on threads of its own at idle I/O priority and low CPU priority, paced by
 * nobody who waits for bytes.  A finished list is kept in a directory under a
 * name made of device, inode, size, mtime and ctime, and is never believed
 * after any of these changed: they are compared before and after the reading.
 * Chunk digests that somebody computed anyway (a seed that sends a chunk for
 * the first time) are taken in.
 */
#ifndef WFS_CORE_DIGEST_BOOK_H
#define WFS_CORE_DIGEST_BOOK_H

#include <stdbool.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/digest/digests.h"

struct wfs_book;
struct wfs_page; /* of one file; counted */

struct wfs_book_config {
	const char *dir;  /* NULL: nothing is kept beyond this process.  Made
			    (0700) if need be; one that others may write is
			    refused */
	unsigned threads; /* that compute; 0: 1 */
};

int wfs_book_open(const struct wfs_book_config *config,
		  struct wfs_book **ret_book, struct wfs_err *err);
/* Ends the threads, also in mid-file.  All pages must be closed.  NULL is
 * fine. */
void wfs_book_close(struct wfs_book *book);

/*
 * The page of the regular file behind `fd` (duplicated).  Reads nothing but
 * what was kept.  The same file gives the same page.
 */
int wfs_page_open(struct wfs_book *book, int fd, const char *path,
		  struct wfs_page **ret_page, struct wfs_err *err);
void wfs_page_close(struct wfs_page *page); /* NULL is fine */

/* Bytes behind no descriptor. */
struct wfs_page_bytes {
	void *ctx;
	uint64_t size;
	/*
	 * All `len` bytes: 0, -EBUSY (asked again in a moment), -ESTALE (they
	 * are others by now, for good), or another negative errno.
	 */
	int (*read)(void *ctx, void *buf, size_t len, uint64_t off);
	/* They are read no more; from any thread, with no lock of the
	   book held. */
	void (*release)(void *ctx);
};

/* A page of its own each time; nothing of it is kept. */
struct wfs_page *wfs_page_open_bytes(struct wfs_book *book, const char *name,
				     const struct wfs_page_bytes *bytes);

/*
 * The whole list if it is known, else NULL; it lives as long as the page.
 * `want`: starts computing it otherwise.
 */
const struct wfs_digests *wfs_page_list(struct wfs_page *page,
					enum wfs_digest_algorithm algorithm,
					bool want);

/*
 * Waits until the list is known, and has it computed if need be: 0,
 * -ETIMEDOUT, -ESTALE (the file changed: for good), or what reading failed
 * with (-EIO …; tried again half a minute later).  `timeout_ns` 0 only asks.
 */
int wfs_page_wait(struct wfs_page *page, enum wfs_digest_algorithm algorithm,
		  uint64_t timeout_ns);

/* The XXH3-128 of chunk `index` if it is known. */
bool wfs_page_chunk(struct wfs_page *page, uint64_t index,
		    uint8_t ret_digest[16]);
/* Takes in the XXH3-128 of a chunk whose bytes somebody read. */
void wfs_page_note(struct wfs_page *page, uint64_t index,
		   const uint8_t digest[16]);

/*
 * For who reads a whole file for its digests anyway: `look` before it, and
 * `keep` after it with what was computed, which is then kept in the book's
 * directory if the file has not changed since.  `look` says -EAGAIN when the
 * file was written so recently that its times might not tell, or -errno.
 */
int wfs_book_look(int fd, struct stat *ret_before);
void wfs_book_keep(struct wfs_book *book, int fd, const struct stat *before,
		   const struct wfs_digests *list);

/*
 * Called with no lock held, on a thread of the book, whenever a list of any
 * page became known; NULL takes it off and returns only when no call runs.
 * The page is valid during the call.
 */
void wfs_book_on_known(struct wfs_book *book,
		       void (*known)(void *ctx, struct wfs_page *page),
		       void *ctx);

#endif
