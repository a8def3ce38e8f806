/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proof does to a manifest.
 */
#include "transport/remote/proof.h"

#include <errno.h>
#include <string.h>

#include "transport/remote/manifest.h"

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
