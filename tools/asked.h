/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What models on this node's disks hash to, for who asks the mount: what
 * `weightfs digest` prints of them.
 *
 * Nothing is read before somebody asks.  Then a thread goes through the
 * model's files, one after the other, and has their digests computed by a book
 * (core/digest/book.h): behind everybody who reads, kept beyond this process,
 * not believed once a file changed.
 */
#ifndef WFS_TOOLS_ASKED_H
#define WFS_TOOLS_ASKED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/digest/digest_tree.h"
#include "core/model/model.h"

struct wfs_asked;

/* `cache` as of wfs_open_book; outlives it.  Starts nothing. */
struct wfs_asked *wfs_asked_new(const char *cache);

/*
 * The digest of a model; never waits.  -EINPROGRESS: it is being computed,
 * with `start` from now on.  -ENODATA: it has none, since nobody asked with
 * `start`, or a file of it is not on this node, has a name that no digest
 * manifest can have, or changed; what could not be read is tried again half a
 * minute later.
 */
int wfs_asked_digest(struct wfs_asked *asked, struct wfs_model *model,
		     bool start, uint8_t ret_root[WFS_ROOT_BYTES]);

/* Ends the thread, also in mid-file, and lets go of all models.  NULL is fine.
 */
void wfs_asked_free(struct wfs_asked *asked);

#endif
