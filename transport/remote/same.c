/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has the same bytes of a file as its authority.
 *
 * They are known to be the same where the root digest is the authority's;
 * until that is known, it alone is asked.  The authority itself is asked as
 * long as the region is the one it listed.  Of an engine's memory there may
 * be no digests: then the word of engines that declare the same version is
 * taken, as far as their files begin alike.
 */
#include <string.h>

#include "transport/remote/inner.h"

/* By SHA-256 where a trusted root is known, else by XXH3-128. */
static bool is_same(const struct remote_region *region,
		    const struct wfs_manifest_file *file)
{
	if (region->proven && file->has_sha256)
		return !memcmp(region->sha256, file->sha256,
			       sizeof(file->sha256));
	return region->has_root && file->has_root &&
	       !memcmp(region->root, file->root, sizeof(file->root));
}

/*
 * Is it a file of the same engine's, or of one that declares the same, as far
 * as is known?
 */
static bool may_be_same(const struct wfs_remote_source *source, size_t index,
			const struct wfs_manifest *manifest,
			const struct wfs_manifest_file *file)
{
	const struct remote_region *region = &source->regions[index];

	if (region->has_root && file->has_root)
		return is_same(region, file);
	return wfs_live_same_file(source->manifest,
				  &source->manifest->files[index], manifest,
				  file);
}

/*
 * Where both can tell digests nobody else is asked before they were compared,
 * as long as they can be.
 */
static bool is_compared(const struct wfs_remote_source *source, size_t index,
			const struct wfs_manifest *manifest,
			const struct wfs_manifest_file *file)
{
	const struct wfs_live *a = &source->manifest->workers->live;
	const struct wfs_live *b = &manifest->workers->live;
	const struct remote_seed *authority = source->regions[index].authority;

	return !a->digests || !b->digests || !authority || !authority->up ||
	       is_same(&source->regions[index], file);
}

/* What a seed has of that path and size, and in which model; or NULL. */
static const struct wfs_manifest_file *
find_file(const struct wfs_remote_source *source, size_t index,
	  const struct remote_seed *seed, const struct remote_model **ret_model)
{
	const struct remote_model *model =
		wfs_remote_model_locked(seed, source->remote_name);
	const struct remote_region *region = &source->regions[index];
	const struct wfs_manifest_file *file = NULL;

	if (model && model->manifest)
		file = wfs_manifest_find(model->manifest,
					 source->manifest->files[index].path);
	if (!file || file->is_dir || file->size != region->base.size ||
	    wfs_bits_has(&region->refused, seed->index))
		return NULL;
	*ret_model = model;
	return file;
}

const struct wfs_manifest_file *
wfs_remote_same_locked(const struct wfs_remote_source *source, size_t index,
		       const struct remote_seed *seed)
{
	const struct remote_region *region = &source->regions[index];
	const struct remote_model *model;
	const struct wfs_manifest_file *file =
		find_file(source, index, seed, &model);
	bool own = seed == region->authority, has;

	if (!file)
		return NULL;
	has = is_same(region, file) ||
	      (own && !memcmp(region->id, file->id, sizeof(file->id)));
	/* The same version, with other names for its regions. */
	has |= own &&
	       !strcmp(model->manifest->version, source->manifest->version);
	if (source->manifest->workers && model->manifest->workers)
		has |= may_be_same(source, index, model->manifest, file) &&
		       is_compared(source, index, model->manifest, file);
	return has ? file : NULL;
}

bool wfs_remote_may_be_same_locked(const struct wfs_remote_source *source,
				   size_t index, const struct remote_seed *seed)
{
	const struct remote_model *model;
	const struct wfs_manifest_file *file =
		find_file(source, index, seed, &model);

	return file && may_be_same(source, index, model->manifest, file);
}
