/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See proof.h.
 */
#include "core/digest/proof.h"

#include <errno.h>
#include <string.h>

#include "core/base/mem.h"

int wfs_proof_new(char *text, size_t len, char *signature, size_t signature_len,
		  struct wfs_proof **ret_proof, struct wfs_err *err)
{
	struct wfs_proof *proof = wfs_calloc(1, sizeof(*proof));
	int rc;

	atomic_init(&proof->refs, 1);
	proof->text = text;
	proof->len = len;
	proof->signature = signature;
	proof->signature_len = signature_len;
	rc = wfs_digest_tree_parse(text, len, &proof->tree, err);
	if (rc) {
		wfs_proof_put(proof);
		return rc;
	}
	wfs_digest_tree_root(&proof->tree, proof->root);
	*ret_proof = proof;
	return 0;
}

struct wfs_proof *wfs_proof_get(struct wfs_proof *proof)
{
	atomic_fetch_add(&proof->refs, 1);
	return proof;
}

void wfs_proof_put(struct wfs_proof *proof)
{
	if (!proof || atomic_fetch_sub(&proof->refs, 1) > 1)
		return;
	wfs_digest_tree_clear(&proof->tree);
	free(proof->text);
	free(proof->signature);
	free(proof);
}

const char *wfs_proof_bytes(const struct wfs_proof *proof, const char *path,
			    size_t *ret_len)
{
	bool text = !strcmp(path, WFS_DIGEST_TREE_FILE);

	if (!text && (strcmp(path, WFS_DIGEST_TREE_SIGNATURE) != 0 ||
		      !proof->signature || !proof->is_signed))
		return NULL;
	*ret_len = text ? proof->len : proof->signature_len;
	return text ? proof->text : proof->signature;
}

bool wfs_proof_covers(const struct wfs_proof *proof, const char *path,
		      uint64_t size, const struct wfs_digest_file **ret_said)
{
	const struct wfs_digest_file *said = NULL;
	bool covers;
	size_t len;

	if (wfs_proof_bytes(proof, path, &len)) {
		covers = len == size;
	} else {
		said = wfs_digest_tree_find(&proof->tree, path);
		covers = said && said->size == size;
	}
	if (covers)
		*ret_said = said;
	return covers;
}

const char *wfs_proof_misses(const struct wfs_proof *proof,
			     bool (*size_of)(const void *ctx, const char *path,
					     uint64_t *ret_size),
			     const void *ctx)
{
	for (size_t i = 0; i < proof->tree.count; i++) {
		const struct wfs_digest_file *said = &proof->tree.files[i];
		uint64_t size;

		if (!size_of(ctx, said->path, &size) || size != said->size)
			return said->path;
	}
	return NULL;
}
