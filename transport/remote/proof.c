/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proof does to a manifest.
 */
#include "transport/remote/proof.h"

#include <errno.h>
#include <string.h>

#include "transport/remote/manifest.h"

static bool size_of(const void *manifest, const char *path, uint64_t *ret_size)
{
	const struct wfs_manifest_file *file =
		wfs_manifest_find(manifest, path);

	if (!file || file->is_dir)
		return false;
	*ret_size = file->size;
	return true;
}

/* Is it said what this file holds? */
static bool take_root(const struct wfs_proof *proof,
		      struct wfs_manifest_file *file)
{
	const struct wfs_digest_file *said;

	if (file->is_dir)
		return true;
	if (!wfs_proof_covers(proof, file->path, file->size, &said))
		return false;
	if (said) {
		file->has_sha256 = true;
		memcpy(file->sha256, said->root, sizeof(file->sha256));
	}
	return true;
}

int wfs_proof_apply(struct wfs_proof *proof, struct wfs_manifest *manifest,
		    struct wfs_err *err)
{
	const char *missing = wfs_proof_misses(proof, size_of, manifest);
	size_t kept = 0;

	if (missing)
		return wfs_err_set(err, -EBADMSG,
				   "'%.200s' is not there with the size that "
				   "its digest manifest says",
				   missing);
	for (size_t i = 0; i < manifest->count; i++) {
		struct wfs_manifest_file *file = &manifest->files[i];

		if (take_root(proof, file))
			manifest->files[kept++] = *file;
		else
			free(file->path);
	}
	manifest->count = kept;
	manifest->proof = wfs_proof_get(proof);
	return 0;
}
