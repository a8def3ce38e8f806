/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest manifest: which files a version has, and their SHA-256 roots.
 *
 * It lies beside the files of a checkpoint, is written by `weightfs digest`,
 * and stands for all of them: one digest over its lines, the tree root, names
 * the version.  Whoever trusts that root, or a signature under the manifest,
 * can check every byte.  Lists of chunk digests are not in it; they hash to
 * the roots, so anybody may hand them out.
 *
 * It is JSON of one spelling: a file that says the same in other bytes is
 * refused, so that the tree root stands for the manifest's own bytes, too.
 */
#ifndef WFS_CORE_DIGEST_DIGEST_TREE_H
#define WFS_CORE_DIGEST_DIGEST_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/source.h"

#define WFS_DIGEST_TREE_FILE	  "weightfs.digests.json"
#define WFS_DIGEST_TREE_SIGNATURE "weightfs.digests.json.sig"
/*
 * The lists of SHA-256 chunk digests (core/digest/digests.h, encoded) of all
 * files, one after the other in the manifest's order: for who reads the files
 * from where nobody computes anything.
 */
#define WFS_DIGEST_LISTS_FILE "weightfs.digests.lists"
/* Bytes of a manifest, at most: some half a million files. */
#define WFS_DIGEST_TREE_MAX (128u << 20)
#define WFS_ROOT_BYTES	    32 /* of a SHA-256 */

struct wfs_digest_file {
	char *path;    /* relative to the checkpoint */
	uint64_t size; /* bytes */
	uint8_t root[WFS_ROOT_BYTES];
};

/* Starts as {0}; the files are in byte order of their paths. */
struct wfs_digest_tree {
	struct wfs_digest_file *files;
	size_t count, cap;
};

void wfs_digest_tree_clear(struct wfs_digest_tree *tree);

/* Itself, its signature and the lists are no part of what it is about. */
bool wfs_digest_tree_leaves_out(const char *path);

/*
 * Adds a file behind the last.  -EINVAL with a sentence: the path comes
 * before that of the last or is the same; it leads out of the directory; it
 * has control characters or is no UTF-8, which the manifest cannot say.
 */
int wfs_digest_tree_add(struct wfs_digest_tree *tree, const char *path,
			uint64_t size, const uint8_t root[WFS_ROOT_BYTES],
			struct wfs_err *err);

/* The file of that path, or NULL. */
const struct wfs_digest_file *
wfs_digest_tree_find(const struct wfs_digest_tree *tree, const char *path);

/* The SHA-256 that transport/PROTOCOL.md calls the tree digest. */
void wfs_digest_tree_root(const struct wfs_digest_tree *tree,
			  uint8_t ret_root[WFS_ROOT_BYTES]);

void wfs_digest_tree_encode(const struct wfs_digest_tree *tree,
			    struct wfs_text *text);

/* -EBADMSG with a sentence for anything that `encode` would not write. */
int wfs_digest_tree_parse(const char *text, size_t len,
			  struct wfs_digest_tree *ret_tree,
			  struct wfs_err *err);

/*
 * The manifest that lies among the files of `src`: -ENOENT without a sentence
 * when there is none.  What it says of the other files is not checked.
 */
int wfs_digest_tree_load(struct wfs_source *src,
			 struct wfs_digest_tree *ret_tree, struct wfs_err *err);

#endif
