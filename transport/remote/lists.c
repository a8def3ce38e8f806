/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of chunk digests: XXH3-128, asked of the authority for files whose
 * root it has told; and SHA-256 for files of a proven version, asked of
 * whoever has them, since a list hashes to the root or is none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cond.h"
#include "core/base/hex.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

#define DIGESTS_MS	30000
#define DIGESTS_AT_ONCE 64 /* lists, before news are asked for again */
#define NS_PER_S	1000000000ull
#define TURN_NS		(2 * NS_PER_S) /* then another seed is asked, too */
#define KICK_NS		(NS_PER_S / 2)

/* A file whose root is known and whose list is not, of a model in use. */
struct listless {
	uint64_t serial; /* of the source */
	size_t index;	 /* in its manifest */
	uint64_t size;
	enum wfs_digest_algorithm algorithm;
	uint8_t id[WFS_WIRE_ID_BYTES], root[WFS_DIGEST_MAX];
	char name[512]; /* for messages */
};

/* Is this seed to be asked for that list now?  Its id of the file, or NULL. */
static const uint8_t *list_from_locked(const struct wfs_remote_source *s,
				       size_t index,
				       const struct remote_seed *seed,
				       bool awaited)
{
	const struct remote_region *r = &s->regions[index];
	const struct wfs_manifest_file *file;

	if (!r->far || !r->base.size || r->awaited != awaited ||
	    wfs_far_is_trusted(r->far))
		return NULL;
	if (!r->proven)
		return r->authority == seed && r->has_root && !r->no_list ?
			       r->id :
			       NULL;
	if (r->asked_at && wfs_now_ns() - r->asked_at < TURN_NS)
		return NULL;
	file = wfs_remote_same_locked(s, index, seed);
	return file ? file->id : NULL;
}

static void fill_listless(struct wfs_remote_source *s, size_t index,
			  const uint8_t *id, struct listless *ret)
{
	struct remote_region *r = &s->regions[index];

	*ret = (struct listless){
		.serial = s->serial,
		.index = index,
		.size = r->base.size,
		.algorithm = r->proven ? WFS_SHA256 : WFS_XXH3_128,
	};
	memcpy(ret->id, id, sizeof(ret->id));
	memcpy(ret->root, r->proven ? r->sha256 : r->root,
	       wfs_digest_size(ret->algorithm));
	snprintf(ret->name, sizeof(ret->name), "model '%s', file '%s'",
		 s->remote_name, r->base.path);
	if (r->proven)
		r->asked_at = wfs_now_ns();
}

/* Those that somebody waits for go before the others. */
static bool next_listless(struct remote_seed *seed, struct listless *ret)
{
	struct wfs_remote *remote = seed->remote;
	const uint8_t *id = NULL;

	pthread_mutex_lock(&remote->lock);
	for (int pass = 0; pass < 2 && !id; pass++)
		for (struct wfs_remote_source *s = remote->sources; s && !id;
		     s = s->next)
			for (size_t i = 0; i < s->manifest->count && !id; i++) {
				id = list_from_locked(s, i, seed, !pass);
				if (id)
					fill_listless(s, i, id, ret);
			}
	pthread_mutex_unlock(&remote->lock);
	return id;
}

static int get_list(struct remote_seed *seed, const struct listless *file,
		    struct wfs_digests **ret, struct wfs_err *err)
{
	struct wfs_get request = {
		.limit = WFS_DIGESTS_HEAD +
			 wfs_chunk_count(file->size) *
				 wfs_digest_size(file->algorithm),
		.timeout_ms = DIGESTS_MS,
		.stop = &seed->remote->stop,
	};
	struct wfs_http http = { 0 };
	char path[128], hex[2 * WFS_WIRE_ID_BYTES + 1];
	int rc;

	/* Nobody reads the file before its SHA-256 list is there. */
	snprintf(path, sizeof(path), "/v1/regions/%s/digests%s",
		 wfs_hex_format(file->id, sizeof(file->id), hex),
		 file->algorithm == WFS_SHA256 ? "?algorithm=sha256&wait=5" :
						 "");
	request.path = path;
	rc = wfs_http_get(seed->link, seed->curl, &request, &http, err);
	if (!rc && http.status != 200)
		rc = wfs_err_set(err, -EAGAIN, "%s: not known yet", path);
	if (!rc)
		rc = wfs_digests_parse(http.body, http.len, file->algorithm,
				       file->size, file->root, ret, err);
	wfs_http_clear(&http);
	return rc;
}

/* Hands a list to the file it is of, if that is there still. */
static void give_list(struct remote_seed *seed, const struct listless *file,
		      struct wfs_digests *digests)
{
	struct wfs_remote *remote = seed->remote;

	pthread_mutex_lock(&remote->lock);
	for (struct wfs_remote_source *s = remote->sources; s; s = s->next) {
		struct remote_region *r = &s->regions[file->index];

		if (s->serial != file->serial)
			continue;
		r->asked_at = 0;
		if (digests)
			wfs_far_trust(r->far, wfs_steal_ptr(&digests));
		else if (r->proven)
			wfs_bits_add(&r->refused, seed->index);
		else
			r->no_list = true;
		if (wfs_bits_any(&r->refused))
			wfs_remote_match_source_locked(s);
	}
	pthread_cond_broadcast(&remote->changed);
	pthread_mutex_unlock(&remote->lock);
	free(digests);
}

/* Any seed may be asked for it again. */
static void end_turn(struct wfs_remote *remote, const struct listless *file)
{
	pthread_mutex_lock(&remote->lock);
	for (struct wfs_remote_source *s = remote->sources; s; s = s->next)
		if (s->serial == file->serial)
			s->regions[file->index].asked_at = 0;
	pthread_mutex_unlock(&remote->lock);
}

/* Without a list each chunk is compared with the digest it comes with, but
 * chunks of a proven version are not asked for. */
bool wfs_remote_get_lists(struct remote_seed *seed)
{
	struct listless file;

	for (int i = 0; i < DIGESTS_AT_ONCE; i++) {
		struct wfs_digests *digests = NULL;
		struct wfs_err err = { 0 };

		if (atomic_load(&seed->remote->stop) ||
		    !next_listless(seed, &file))
			return true;
		if (get_list(seed, &file, &digests, &err)) {
			if (err.code == -EBADMSG)
				wfs_warn("seed '%s': %s: %s", seed->link->label,
					 file.name, err.text);
			if (err.code == -EAGAIN || err.code == -EIO) {
				end_turn(seed->remote, &file);
				return false;
			}
		}
		give_list(seed, &file, digests);
	}
	return false;
}

/* Wakes the seeds, and sleeps a little. */
static void kick_locked(struct wfs_remote *remote, uint64_t end)
{
	uint64_t until = wfs_now_ns() + KICK_NS;

	if (until > end)
		until = end;
	for (size_t i = 0; i < remote->seed_count; i++)
		remote->seeds[i]->kicked = true;
	pthread_cond_broadcast(&remote->changed);
	wfs_cond_wait_until(&remote->changed, &remote->lock, until);
}

int wfs_remote_await_list(struct wfs_remote *remote,
			  struct remote_region *region)
{
	uint64_t end = wfs_now_ns() + remote->deadline_ns;
	int rc = 0;

	if (wfs_far_is_trusted(region->far))
		return 0;
	pthread_mutex_lock(&remote->lock);
	region->awaited = true;
	while (!rc && !wfs_far_is_trusted(region->far)) {
		if (atomic_load(&remote->stop))
			rc = -ESHUTDOWN;
		else if (wfs_remote_is_ended(&region->base))
			rc = -ESTALE;
		else if (wfs_now_ns() >= end)
			rc = -EIO;
		else
			kick_locked(remote, end);
	}
	pthread_mutex_unlock(&remote->lock);
	return rc;
}
