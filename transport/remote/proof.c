/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs, and what they do to manifests.
 */
#include "transport/remote/proof.h"

#include <errno.h>
#include <string.h>

#include "transport/remote/manifest.h"

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

/* Does the proof say what this file holds? */
static bool covers(const struct wfs_proof *proof,
		   struct wfs_manifest_file *file)
{
	const struct wfs_digest_file *said;
	size_t len;

	if (file->is_dir)
		return true;
	if (wfs_proof_bytes(proof, file->path, &len))
		return len == file->size;
	said = wfs_digest_tree_find(&proof->tree, file->path);
	if (!said || said->size != file->size)
		return false;
	file->has_sha256 = true;
	memcpy(file->sha256, said->root, sizeof(file->sha256));
	return true;
}

static int check_complete(const struct wfs_proof *proof,
			  const struct wfs_manifest *manifest,
			  struct wfs_err *err)
{
	for (size_t i = 0; i < proof->tree.count; i++) {
		const struct wfs_digest_file *said = &proof->tree.files[i];
		const struct wfs_manifest_file *file =
			wfs_manifest_find(manifest, said->path);

		if (!file || file->is_dir || file->size != said->size)
			return wfs_err_set(err, -EBADMSG,
					   "'%.200s' is not there with the "
					   "size that its digest manifest says",
					   said->path);
	}
	return 0;
}

int wfs_proof_apply(struct wfs_proof *proof, struct wfs_manifest *manifest,
		    struct wfs_err *err)
{
	size_t kept = 0;
	int rc = check_complete(proof, manifest, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < manifest->count; i++) {
		struct wfs_manifest_file *file = &manifest->files[i];

		if (covers(proof, file))
			manifest->files[kept++] = *file;
		else
			free(file->path);
	}
	manifest->count = kept;
	manifest->proof = wfs_proof_get(proof);
	return 0;
}
