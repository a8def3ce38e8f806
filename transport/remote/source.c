/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One version of a remote model as a source: the listing is the manifest's,
 * reads go through the fetch.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "transport/remote/inner.h"

static struct wfs_remote_source *to_remote(struct wfs_source *src)
{
	return (struct wfs_remote_source *)src;
}

static const struct wfs_source_entry *remote_list(struct wfs_source *src,
						  size_t *ret_count)
{
	*ret_count = to_remote(src)->manifest->count;
	return to_remote(src)->entries;
}

bool wfs_remote_is_ended(const struct wfs_region *region)
{
	return atomic_load(&to_remote(region->source)->ended);
}

void wfs_remote_source_end(struct wfs_source *src)
{
	struct wfs_remote_source *source = to_remote(src);
	struct wfs_remote *remote = source->remote;

	pthread_mutex_lock(&remote->lock);
	atomic_store(&source->ended, true);
	for (size_t i = 0; i < source->manifest->count; i++)
		if (source->regions[i].far)
			wfs_far_end(source->regions[i].far);
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
}

static int remote_read(struct wfs_region *region, void *buf, size_t len,
		       uint64_t off)
{
	struct remote_region *r = (struct remote_region *)region;
	int rc = 0;

	if (wfs_remote_is_ended(region))
		return -ESTALE;
	if (atomic_load(&r->lent) >= 0) {
		rc = wfs_remote_read_lent(r, buf, len, off);
		if (!rc || rc == -ESTALE)
			return rc;
		rc = 0; /* the seed may have better luck with its disk */
	}
	if (r->proven)
		rc = wfs_remote_await_list(to_remote(region->source)->remote,
					   r);
	return rc ? rc : wfs_far_read(r->far, buf, len, off);
}

/*
 * Bytes of which a root is known are to be held against it, once its list is
 * there; those of a running engine come without, as a rule.
 */
static int remote_land(struct wfs_region *region, struct wfs_landing *landing,
		       size_t len, uint64_t off)
{
	struct remote_region *r = (struct remote_region *)region;
	struct wfs_remote_source *source = to_remote(region->source);
	bool checked;

	if (atomic_load(&source->ended))
		return -ESTALE;
	pthread_mutex_lock(&source->remote->lock);
	checked = r->has_root || r->proven;
	pthread_mutex_unlock(&source->remote->lock);
	return checked ? -ENOTSUP : wfs_far_land(r->far, landing, len, off);
}

static int remote_descriptor(struct wfs_region *region)
{
	int fd = atomic_load(&((struct remote_region *)region)->lent);

	return fd >= 0 ? fd : -ENOTSUP;
}

static int remote_check(struct wfs_region *region)
{
	return wfs_remote_is_ended(region) ?
		       -ESTALE :
		       wfs_remote_check_lent((struct remote_region *)region);
}

/*
 * Roots are the authority's, lists hash to them; SHA-256 is only said where
 * it was proven to us.
 */
static bool remote_digests(struct wfs_region *region,
			   enum wfs_digest_algorithm algorithm,
			   struct wfs_known_digests *ret)
{
	struct remote_region *r = (struct remote_region *)region;
	struct wfs_remote *remote = to_remote(region->source)->remote;
	bool is_sha256 = algorithm == WFS_SHA256, known;

	pthread_mutex_lock(&remote->lock);
	known = is_sha256 ? r->proven : r->has_root;
	if (known)
		memcpy(ret->root, is_sha256 ? r->sha256 : r->root,
		       wfs_digest_size(algorithm));
	pthread_mutex_unlock(&remote->lock);
	if (!known)
		return false;
	ret->list = wfs_far_digests(r->far);
	if (ret->list && ret->list->algorithm != algorithm)
		ret->list = NULL;
	return true;
}

static enum wfs_trust remote_trust(struct wfs_region *region)
{
	return to_remote(region->source)->trust;
}

static const uint8_t *remote_tree(struct wfs_source *src)
{
	const struct wfs_remote_source *source = to_remote(src);

	return source->trust > WFS_TRUST_SEED ? source->manifest->proof->root :
						NULL;
}

static void remote_close(struct wfs_source *src)
{
	struct wfs_remote_source *source = to_remote(src), **at;
	struct wfs_remote *remote = source->remote;

	pthread_mutex_lock(&remote->lock);
	for (at = &remote->sources; *at && *at != source; at = &(*at)->next)
		;
	if (*at)
		*at = source->next;
	wfs_remote_give_back(source);
	pthread_mutex_unlock(&remote->lock);
	for (size_t i = 0; i < source->manifest->count; i++) {
		wfs_far_free(source->regions[i].far);
		wfs_bits_clear(&source->regions[i].refused);
	}
	wfs_manifest_put(source->manifest);
	free(source->name);
	free(source->remote_name);
	free(source->entries);
	free(source->regions);
	free(source);
}

static const struct wfs_source_ops remote_ops = {
	.name = "remote",
	.far = true,
	.trust = remote_trust,
	.list = remote_list,
	.read = remote_read,
	.land = remote_land,
	.descriptor = remote_descriptor,
	.check = remote_check,
	.digests = remote_digests,
	.tree = remote_tree,
	.close = remote_close,
};

struct wfs_remote_source *wfs_remote_source_of(struct wfs_source *source)
{
	return source->ops == &remote_ops ? (struct wfs_remote_source *)source :
					    NULL;
}

/* Read-only for all, whatever it is at the seed: ours is a read-only mount. */
static void fill_entry(struct wfs_source_entry *entry,
		       const struct wfs_manifest_file *file, uint64_t seed_hash)
{
	struct stat *st = &entry->st;

	entry->path = file->path;
	st->st_mode = file->is_dir ? S_IFDIR | 0555 : S_IFREG | 0444;
	st->st_nlink = 1;
	st->st_size = (off_t)file->size;
	st->st_blksize = 4096;
	st->st_blocks = (blkcnt_t)((file->size + 511) / 512);
	st->st_mtim = st->st_ctim = st->st_atim = file->mtime;
	if (file->is_dir)
		return;
	/*
	 * The model's fingerprint is made of this: another region is another
	 * version, and so is the same one of a seed that stands in for good.
	 */
	st->st_ino = wfs_hash(file->id, sizeof(file->id), seed_hash);
}

static void prove_region(struct remote_region *r,
			 const struct wfs_manifest_file *file,
			 const struct wfs_proof *proof)
{
	size_t len;
	const char *bytes = wfs_proof_bytes(proof, file->path, &len);

	/* The proof itself is at hand, and is what it says it is. */
	if (bytes)
		wfs_region_keep(&r->base, bytes, len);
	r->proven = !bytes && file->size;
	memcpy(r->sha256, file->sha256, sizeof(r->sha256));
}

/* Whose file it was when a live version was put together. */
static struct remote_seed *authority_of(const struct wfs_remote_source *source,
					const struct wfs_manifest_file *file,
					struct remote_seed *seed)
{
	const struct wfs_remote *remote = source->remote;

	for (size_t i = 0; i < remote->seed_count && !seed; i++) {
		const struct remote_model *model = wfs_remote_model_locked(
			remote->seeds[i], source->remote_name);
		const struct wfs_manifest_file *own = NULL;

		if (model && model->manifest)
			own = wfs_manifest_find(model->manifest, file->path);
		if (own && !memcmp(own->id, file->id, sizeof(file->id)))
			seed = remote->seeds[i];
	}
	return seed;
}

/* `seed`: the authority; NULL: each file has its own. */
static void fill_region(struct wfs_remote_source *source, size_t i,
			struct remote_seed *seed)
{
	const struct wfs_manifest_file *file = &source->manifest->files[i];
	struct remote_region *r = &source->regions[i];

	r->base.source = &source->base;
	r->base.path = file->path;
	r->base.size = file->size;
	atomic_init(&r->base.failed_once, false);
	atomic_init(&r->base.stale, false);
	r->authority = authority_of(source, file, seed);
	r->has_root = file->has_root;
	memcpy(r->id, file->id, sizeof(r->id));
	memcpy(r->root, file->root, sizeof(r->root));
	r->far = wfs_far_new(source->remote->fetch, source->remote_name,
			     file->path, file->size);
	wfs_far_set_group(r->far, &source->group);
	source->entries[i].region = &r->base;
	if (source->trust > WFS_TRUST_SEED)
		prove_region(r, file, source->manifest->proof);
}

/* The authority, and whom it has it by. */
static char *make_via(const struct wfs_choice *choice)
{
	const char *node = choice->seed->node;
	const char *via =
		wfs_remote_model_locked(choice->seed, choice->remote_name)->via;

	return wfs_asprintf("%s%s%s", node, *node && via ? " " : "",
			    via ? via : "");
}

static char *make_label(const struct wfs_choice *choice)
{
	const struct wfs_live *live =
		choice->whole ? &choice->whole->workers->live : NULL;

	if (live)
		return wfs_asprintf("live:%s/%s/%s",
				    live->engine ? live->engine : "engine",
				    live->layout ? live->layout : "all",
				    choice->remote_name);
	return wfs_asprintf("%s/v1/models/%s", choice->seed->link->base,
			    choice->remote_name);
}

static struct wfs_remote_source *make_source(struct wfs_remote *remote,
					     const struct wfs_choice *choice,
					     struct wfs_manifest *manifest)
{
	struct wfs_remote_source *source = wfs_calloc(1, sizeof(*source));
	char *label wfs_autofree = make_label(choice);
	uint64_t hash = wfs_hash(label, strlen(label), WFS_HASH_SEED);

	wfs_source_init(&source->base, &remote_ops, label);
	if (manifest->workers) {
		source->base.live = &manifest->workers->live;
		source->base.via = wfs_whole_via_locked(remote, choice);
		hash = wfs_hash(manifest->version, strlen(manifest->version),
				hash);
		hash = wfs_hash(&choice->round, sizeof(choice->round), hash);
	} else {
		source->base.via = make_via(choice);
	}
	atomic_init(&source->ended, false);
	source->remote = remote;
	source->trust = wfs_choice_trust(choice, manifest);
	source->serial = source->group.id = ++remote->serial;
	source->name = wfs_strdup(choice->name);
	source->remote_name = wfs_strdup(choice->remote_name);
	source->manifest = wfs_manifest_get(manifest);
	source->entries =
		wfs_calloc(manifest->count + 1, sizeof(*source->entries));
	source->regions =
		wfs_calloc(manifest->count + 1, sizeof(*source->regions));
	for (size_t i = 0; i < manifest->count; i++) {
		atomic_init(&source->regions[i].lent, -1);
		fill_entry(&source->entries[i], &manifest->files[i], hash);
		if (!manifest->files[i].is_dir)
			fill_region(source, i, choice->seed);
	}
	return source;
}

/* A source of the version that the name has; with the lock held. */
static struct wfs_remote_source *add_source(struct wfs_remote *remote,
					    const struct wfs_choice *choice)
{
	struct wfs_manifest *manifest = choice ? wfs_choice_manifest(choice) :
						 NULL;
	struct wfs_remote_source *source;

	if (!manifest || !wfs_choice_accepts(choice, manifest))
		return NULL;
	source = make_source(remote, choice, manifest);
	source->next = remote->sources;
	remote->sources = source;
	wfs_remote_match_source_locked(source);
	return source;
}

int wfs_remote_source(struct wfs_remote *remote, const char *name,
		      struct wfs_source **ret_source, struct wfs_err *err)
{
	struct wfs_remote_source *source;
	const struct wfs_choice *choice;
	struct remote_seed *seed = NULL;
	char *socket wfs_autofree = NULL;

	pthread_mutex_lock(&remote->lock);
	choice = wfs_remote_choice_locked(remote, name);
	source = add_source(remote, choice);
	if (source)
		seed = choice->seed;
	if (seed) {
		if (seed->socket)
			socket = wfs_strdup(seed->socket);
		seed->kicked = true; /* for its lists of digests */
		pthread_cond_broadcast(&remote->changed);
	}
	pthread_mutex_unlock(&remote->lock);
	if (!source)
		return wfs_err_set(err, -ENOENT, "no seed has model '%s' now",
				   name);
	if (socket)
		wfs_remote_borrow(source, seed, socket);
	*ret_source = &source->base;
	return 0;
}
