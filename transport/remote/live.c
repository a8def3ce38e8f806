/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed says of an engine whose memory it serves, completed by what it
 * takes to compare it with what others say: which process it is, and what the
 * files begin with, since there are no digests.
 */
#include <errno.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/text.h"
#include "core/model/safetensors.h"
#include "transport/remote/inner.h"

#define CONFIG	   "config.json"
#define CONFIG_MAX (16u << 20)

int wfs_manifest_take_live(struct wfs_manifest *m, yyjson_val *top,
			   const char *what, struct wfs_err *err)
{
	yyjson_val *said = yyjson_obj_get(top, "live");
	bool *has wfs_autofree = NULL;
	uint32_t rank;
	int rc;

	if (!said || yyjson_is_null(said))
		return 0;
	rc = wfs_workers_parse(said, what, &m->workers, err);
	if (rc)
		return rc;
	m->rooted |= !m->workers->live.digests;
	has = wfs_calloc(m->workers->world, sizeof(*has));
	for (size_t i = 0; i < m->count; i++) {
		if (wfs_workers_rank_of(m->workers, m->files[i].path, &rank))
			continue;
		if (!wfs_workers_origin(m->workers, rank))
			return wfs_err_set(err, -EBADMSG,
					   "%s: has a file of rank %u, which "
					   "it does not say that it has",
					   what, rank);
		has[rank] = true;
	}
	for (size_t i = 0; i < m->workers->live.rank_count; i++)
		if (!has[m->workers->ranks[i]])
			return wfs_err_set(err, -EBADMSG,
					   "%s: has no file of rank %u, which "
					   "it says that it has",
					   what, m->workers->ranks[i]);
	return 0;
}

/* Whoever says of no rank where it was first has it in its own memory. */
static void fill_origins(const struct remote_seed *seed,
			 struct wfs_manifest *manifest)
{
	struct wfs_workers *workers = manifest->workers;

	for (size_t i = 0; i < workers->live.rank_count; i++) {
		struct wfs_live_origin *origin = &workers->origins[i];

		if (origin->node[0])
			return;
		memcpy(origin->node, seed->node, sizeof(seed->node));
		memcpy(origin->version, manifest->version,
		       sizeof(manifest->version));
	}
}

static int get_head(struct remote_seed *seed, struct wfs_manifest_file *file,
		    uint64_t len, struct wfs_err *err)
{
	struct wfs_http http;
	int rc = wfs_remote_get_bytes(seed, file, len, &http, err);

	if (rc)
		return rc;
	wfs_digest_bytes(WFS_XXH3_128, http.body, http.len, file->head);
	file->has_head = true;
	wfs_http_clear(&http);
	return 0;
}

static int get_shard_head(struct remote_seed *seed,
			  struct wfs_manifest_file *file, struct wfs_err *err)
{
	struct wfs_http http;
	uint64_t len;
	int rc;

	if (file->size < sizeof(len))
		return wfs_err_set(err, -EBADMSG, "'%s' has no header",
				   file->path);
	rc = wfs_remote_get_bytes(seed, file, sizeof(len), &http, err);
	if (rc)
		return rc;
	len = wfs_get_le64(http.body);
	wfs_http_clear(&http);
	if (len > WFS_HEADER_MAX || len + sizeof(len) > file->size)
		return wfs_err_set(err, -EBADMSG,
				   "'%s' has a header that cannot be",
				   file->path);
	return get_head(seed, file, len + sizeof(len), err);
}

/* As it was known before, of the same version. */
static bool had_head(const struct wfs_manifest *had,
		     struct wfs_manifest_file *file)
{
	const struct wfs_manifest_file *old =
		had ? wfs_manifest_find(had, file->path) : NULL;

	if (!old || !old->has_head ||
	    memcmp(old->id, file->id, sizeof(old->id)) != 0)
		return false;
	memcpy(file->head, old->head, sizeof(old->head));
	file->has_head = true;
	return true;
}

int wfs_remote_finish_live(struct remote_seed *seed,
			   const struct wfs_manifest *had,
			   struct wfs_manifest *manifest, struct wfs_err *err)
{
	struct wfs_workers *workers = manifest->workers;
	uint32_t rank;
	int rc = 0;

	if (!workers)
		return 0;
	fill_origins(seed, manifest);
	for (size_t i = 0; i < manifest->count && !rc; i++) {
		struct wfs_manifest_file *file = &manifest->files[i];

		if (file->is_dir || had_head(had, file))
			continue;
		if (!strcmp(file->path, CONFIG) && file->size &&
		    file->size <= CONFIG_MAX)
			rc = get_head(seed, file, file->size, err);
		else if (workers->live.declared &&
			 !wfs_workers_rank_of(workers, file->path, &rank))
			rc = get_shard_head(seed, file, err);
	}
	return rc;
}

/* By digests where both have them, else by sizes and heads. */
static bool are_alike(const struct wfs_manifest_file *a,
		      const struct wfs_manifest_file *b)
{
	if (a->size != b->size)
		return false;
	if (a->has_root && b->has_root)
		return !memcmp(a->root, b->root, sizeof(a->root));
	return a->has_head && b->has_head &&
	       !memcmp(a->head, b->head, sizeof(a->head));
}

bool wfs_live_same_config(const struct wfs_manifest *a,
			  const struct wfs_manifest *b)
{
	const struct wfs_manifest_file *x = wfs_manifest_find(a, CONFIG);
	const struct wfs_manifest_file *y = wfs_manifest_find(b, CONFIG);

	return x && y ? are_alike(x, y) : x == y;
}

bool wfs_live_same_file(const struct wfs_manifest *whole,
			const struct wfs_manifest_file *file,
			const struct wfs_manifest *manifest,
			const struct wfs_manifest_file *other)
{
	const struct wfs_workers *a = whole->workers, *b = manifest->workers;
	const struct wfs_live_origin *x, *y;
	uint32_t rank;

	if (!b || wfs_workers_differ(a, b))
		return false;
	if (a->live.declared || (file->has_root && other->has_root) ||
	    wfs_workers_rank_of(a, file->path, &rank))
		return are_alike(file, other);
	x = wfs_workers_origin(a, rank);
	y = wfs_workers_origin(b, rank);
	return x && y && file->size == other->size &&
	       wfs_workers_same_origin(x, y);
}

bool wfs_live_same_rank(const struct wfs_manifest *whole,
			const struct wfs_manifest *manifest, uint32_t rank)
{
	uint32_t of;

	for (size_t i = 0; i < whole->count; i++) {
		const struct wfs_manifest_file *file = &whole->files[i], *other;

		if (wfs_workers_rank_of(whole->workers, file->path, &of) ||
		    of != rank)
			continue;
		other = wfs_manifest_find(manifest, file->path);
		if (!other || !wfs_live_same_file(whole, file, manifest, other))
			return false;
	}
	return true;
}
