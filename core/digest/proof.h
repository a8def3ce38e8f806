/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes the word of whoever sends files more than its word: the digest
 * manifest of the checkpoint, under a root or a key of the operator's.
 */
#ifndef WFS_CORE_DIGEST_PROOF_H
#define WFS_CORE_DIGEST_PROOF_H

#include <stdatomic.h>

#include "core/digest/digest_tree.h"

/* A digest manifest with its signature, as they were sent.  Counted. */
struct wfs_proof {
	atomic_uint refs;
	struct wfs_digest_tree tree;
	uint8_t root[WFS_ROOT_BYTES];
	bool is_signed; /* by a key of the operator's */
	char *text;	/* of the manifest */
	size_t len;
	char *signature; /* NULL: there is none */
	size_t signature_len;
};

/*
 * Takes over both texts, also when it fails.  -EBADMSG with a sentence for
 * what is no digest manifest.
 */
int wfs_proof_new(char *text, size_t len, char *signature, size_t signature_len,
		  struct wfs_proof **ret_proof, struct wfs_err *err);
struct wfs_proof *wfs_proof_get(struct wfs_proof *proof);
void wfs_proof_put(struct wfs_proof *proof); /* NULL is fine */

/* The bytes of that file of the checkpoint if it is one of these two. */
const char *wfs_proof_bytes(const struct wfs_proof *proof, const char *path,
			    size_t *ret_len);

/*
 * Does it say what the file of that path and size holds?  *ret_said is NULL for
 * the two files whose bytes it has itself.
 */
bool wfs_proof_covers(const struct wfs_proof *proof, const char *path,
		      uint64_t size, const struct wfs_digest_file **ret_said);
/*
 * The path of a file that it speaks of and that is not there, where `size_of`
 * tells the size of one that is; NULL: all are.
 */
const char *wfs_proof_misses(const struct wfs_proof *proof,
			     bool (*size_of)(const void *ctx, const char *path,
					     uint64_t *ret_size),
			     const void *ctx);

#endif
