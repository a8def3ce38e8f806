/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See hashes.h.
 */
#include "fs/hashes.h"

#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/proc.h"
#include "core/base/text.h"
#include "core/digest/xxh3.h"
#include "core/store/digest.h"

#define BUCKETS 1024

struct hash {
	struct hash *next;     /* in its bucket */
	uint64_t ino, version; /* of the model: slots are used again */
	bool known;
	uint8_t digest[WFS_DIGEST_BYTES];
};

struct wfs_hashes {
	struct wfs_fs *fs;
	struct wfs_workers *thread; /* one; NULL: none yet */
	atomic_bool stop;
	pthread_mutex_t lock;
	struct hash *buckets[BUCKETS];
	unsigned count;
};

/* One that waits for the thread, or is at it. */
struct reading {
	struct wfs_work work;
	struct wfs_hashes *hashes;
	struct wfs_node node; /* its own reference to the model */
};

struct wfs_hashes *wfs_hashes_new(struct wfs_fs *fs)
{
	struct wfs_hashes *hashes = wfs_calloc(1, sizeof(*hashes));

	hashes->fs = fs;
	pthread_mutex_init(&hashes->lock, NULL);
	return hashes;
}

static struct hash **find_locked(struct wfs_hashes *hashes, uint64_t ino)
{
	struct hash **at =
		&hashes->buckets[wfs_hash(&ino, sizeof(ino), WFS_HASH_SEED) %
				 BUCKETS];

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static void take_out_locked(struct wfs_hashes *hashes, struct hash **at)
{
	struct hash *hash = *at;

	*at = hash->next;
	free(hash);
	hashes->count--;
}

static void forget(struct wfs_hashes *hashes, uint64_t mask, uint64_t value)
{
	pthread_mutex_lock(&hashes->lock);
	for (int b = 0; b < BUCKETS; b++) {
		struct hash **at = &hashes->buckets[b];

		while (*at) {
			if (((*at)->ino & mask) == value)
				take_out_locked(hashes, at);
			else
				at = &(*at)->next;
		}
	}
	pthread_mutex_unlock(&hashes->lock);
}

void wfs_hashes_drop(struct wfs_hashes *hashes, uint32_t slot)
{
	forget(hashes, WFS_INO_SLOT_MASK, wfs_ino_make(slot, 0, 0, 0));
}

void wfs_hashes_stop(struct wfs_hashes *hashes)
{
	if (!hashes)
		return;
	atomic_store(&hashes->stop, true);
	wfs_workers_stop(wfs_steal_ptr(&hashes->thread));
}

void wfs_hashes_free(struct wfs_hashes *hashes)
{
	if (!hashes)
		return;
	forget(hashes, 0, 0);
	pthread_mutex_destroy(&hashes->lock);
	free(hashes);
}

bool wfs_hashes_find(struct wfs_hashes *hashes, const struct wfs_node *node,
		     char *ret_digest)
{
	const struct hash *hash;
	bool known;

	pthread_mutex_lock(&hashes->lock);
	hash = *find_locked(hashes, wfs_node_ino(node));
	known = hash && hash->known;
	if (known)
		wfs_digest_format(hash->digest, ret_digest);
	pthread_mutex_unlock(&hashes->lock);
	return known;
}

/* Goes on until the end, or until nobody needs it any more. */
static int hash_bytes(const struct reading *r, const struct wfs_recipe *recipe,
		      void *room, XXH3_state_t *state)
{
	ssize_t n = 1;

	XXH3_128bits_reset(state);
	for (uint64_t off = 0; n > 0; off += (uint64_t)n) {
		if (atomic_load(&r->hashes->stop))
			return -ESHUTDOWN;
		n = wfs_recipe_read(recipe, room, WFS_WORK_ROOM, off);
		if (n > 0)
			XXH3_128bits_update(state, room, (size_t)n);
	}
	return (int)n;
}

static int hash_node(const struct reading *r, void *room,
		     uint8_t ret_digest[WFS_DIGEST_BYTES])
{
	XXH3_state_t *state = XXH3_createState();
	XXH128_canonical_t canonical;
	struct wfs_node_recipe recipe;
	int rc = state ? wfs_node_recipe(&r->node, &recipe) : -ENOMEM;

	if (!rc) {
		rc = hash_bytes(r, recipe.recipe, room, state);
		wfs_node_recipe_clear(&recipe);
	}
	/* After the reading: it is of what was listed. */
	if (!rc)
		rc = wfs_node_check(&r->node);
	if (!rc) {
		XXH128_canonicalFromHash(&canonical,
					 XXH3_128bits_digest(state));
		memcpy(ret_digest, canonical.digest, WFS_DIGEST_BYTES);
	}
	XXH3_freeState(state);
	return rc;
}

static void read_all(struct wfs_work *work, void *room)
{
	struct reading *r = (struct reading *)work;
	struct wfs_hashes *hashes = r->hashes;
	uint8_t digest[WFS_DIGEST_BYTES] = { 0 };
	struct hash **at;
	bool wanted;
	int rc;

	wfs_thread_stand_back();
	rc = hash_node(r, room, digest);
	pthread_mutex_lock(&hashes->lock);
	at = find_locked(hashes, wfs_node_ino(&r->node));
	wanted = *at && (*at)->version == r->node.model->fingerprint;
	if (wanted && !rc) {
		memcpy((*at)->digest, digest, sizeof(digest));
		(*at)->known = true;
	} else if (wanted) {
		take_out_locked(hashes, at); /* who asks again has it tried */
	}
	pthread_mutex_unlock(&hashes->lock);
	if (rc && rc != -ESHUTDOWN)
		wfs_warn("'%s' of model '%s' has no digest: %s",
			 wfs_node_name(&r->node), r->node.model->name,
			 strerror(-rc));
	wfs_node_clear(&r->node);
	free(r);
}

/* Remembers that it is asked for: is it to be read? */
static bool begin_locked(struct wfs_hashes *hashes, const struct wfs_node *node)
{
	struct hash **at = find_locked(hashes, wfs_node_ino(node));

	if (*at || hashes->count == WFS_HASHES_MAX)
		return false;
	if (!hashes->thread && wfs_workers_start(1, &hashes->thread))
		return false;
	*at = wfs_calloc(1, sizeof(**at));
	(*at)->ino = wfs_node_ino(node);
	(*at)->version = node->model->fingerprint;
	hashes->count++;
	return true;
}

void wfs_hashes_want(struct wfs_hashes *hashes, const struct wfs_node *node)
{
	struct reading *r;
	bool begin;

	if (!wfs_node_is_local(node) || atomic_load(&hashes->stop))
		return;
	pthread_mutex_lock(&hashes->lock);
	begin = begin_locked(hashes, node);
	pthread_mutex_unlock(&hashes->lock);
	if (!begin)
		return;
	r = wfs_malloc(sizeof(*r));
	*r = (struct reading){ .work.run = read_all,
			       .hashes = hashes,
			       .node = *node };
	wfs_model_get(r->node.model);
	wfs_workers_queue(hashes->thread, &r->work);
}
