/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors instead of bytes, between processes of one host.
 *
 * A lender listens on a Unix socket and gives whoever asks for a region a
 * read-only descriptor of the file that it is, so that nothing is copied and
 * its memory is shared.  Both sides look at the other's uid, which must be
 * their own or 0: who holds a file open for reading can do no harm with it,
 * but a file of a stranger can be truncated or rewritten underneath.  Lent is
 * for as long as the descriptor is open or mapped, whatever becomes of the
 * connection or the lender: files of an arena are opened anew for each loan,
 * so that they count as used till then.
 *
 * SOCK_SEQPACKET; one request, one answer.  A request is 24 bytes: "WFL1",
 * u32 operation (1 LEND), the region's id.  An answer is 16 bytes: "WFLA", u32
 * status (enum wfs_wire_status), u64 size of the region, and with status 0
 * one descriptor.
 */
#ifndef WFS_TRANSPORT_LEND_LEND_H
#define WFS_TRANSPORT_LEND_LEND_H

#include <stdint.h>

#include "core/base/err.h"
#include "transport/wire/frame.h"

struct wfs_lender;
struct wfs_borrower;

struct wfs_lender_config {
	/*
	 * NULL: weightfs/ in /run for root, else in $XDG_RUNTIME_DIR.  Made
	 * (0700) if need be; one that others may write is refused.
	 */
	const char *dir;
	/*
	 * The region's descriptor, which the lender closes, and its size; or
	 * a negative errno (-ENOENT: none such, -ESTALE, -ENOTSUP: it is no
	 * file).  From the lender's thread; quick.
	 */
	int (*descriptor)(void *ctx, const uint8_t id[WFS_WIRE_ID_BYTES],
			  uint64_t *ret_size);
	void *ctx;
};

/* -EPERM, -EACCES … with a sentence. */
int wfs_lender_start(const struct wfs_lender_config *config,
		     struct wfs_lender **ret_lender, struct wfs_err *err);
/* Where it listens: an absolute path. */
const char *wfs_lender_path(const struct wfs_lender *lender);
void wfs_lender_stop(struct wfs_lender *lender); /* NULL is fine */

/*
 * Connects to the lender at `path`.  -ENOENT, -ECONNREFUSED when there is
 * none, -EPERM when it is another user's.
 */
int wfs_borrower_open(const char *path, struct wfs_borrower **ret_borrower,
		      struct wfs_err *err);
/* What was borrowed stays the borrower's.  NULL is fine. */
void wfs_borrower_close(struct wfs_borrower *borrower);

/*
 * A read-only descriptor of the region, which must be a regular file of
 * `size` bytes; the caller closes it.  From one thread at a time.  -ENOTSUP,
 * -ENOENT, -ESTALE as the lender says, -EIO when it is gone or takes more
 * than 10 s, -EBADMSG for an answer that is none.
 */
int wfs_borrow(struct wfs_borrower *borrower,
	       const uint8_t id[WFS_WIRE_ID_BYTES], uint64_t size, int *ret_fd,
	       struct wfs_err *err);

#endif
