/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest manifest of a directory: computed, written, checked.
 */
#ifndef WFS_TOOLS_DIGEST_H
#define WFS_TOOLS_DIGEST_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/digest/book.h"
#include "core/digest/digest_tree.h"
#include "core/source.h"
#include "tools/progress.h"

/* One file that is read. */
struct wfs_digest_item {
	struct wfs_region *region;
	uint8_t root[WFS_ROOT_BYTES]; /* result */
	struct wfs_digests *list;     /* result, freed by the caller */
};

/* The files of `src` that a manifest is about, in byte order of their paths. */
struct wfs_digest_item *wfs_digest_items(struct wfs_source *src,
					 size_t *ret_count);

void wfs_digest_items_free(struct wfs_digest_item *items, size_t count);

/*
 * Reads all items, on every CPU, and fills in their results; a seed of this
 * user will find the lists in `book` (NULL: none).  -ESTALE for a
 * file that changed meanwhile, or what reading failed with; with a sentence.
 */
int wfs_digest_compute(struct wfs_digest_item *items, size_t count,
		       struct wfs_progress *progress, struct wfs_book *book,
		       struct wfs_err *err);

struct wfs_digest_args {
	const char *dir;   /* absolute */
	const char *file;  /* absolute: the manifest */
	const char *key;   /* NULL, or a private key; to check, a public one */
	const char *cache; /* for lists of digests; NULL: the usual one */
	bool follow_links;
};

/*
 * Computes and writes the manifest, the lists that hash to its roots, and its
 * signature if there is a key; a signature of an earlier manifest is removed.
 * ret_root is the tree root.
 */
int wfs_digest_write(const struct wfs_digest_args *args,
		     uint8_t ret_root[WFS_ROOT_BYTES], struct wfs_err *err);

/*
 * Compares the directory with its manifest, and that with its signature if
 * there is a key.  Each file that is not as it should be is a line on stderr.
 * -EBADMSG when there was one, with a sentence.
 */
int wfs_digest_check(const struct wfs_digest_args *args,
		     uint8_t ret_root[WFS_ROOT_BYTES], struct wfs_err *err);

#endif
