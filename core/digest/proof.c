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
