/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of chunk digests, asked of the authority for files whose root it has
 * told.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/remote/inner.h"

#define DIGESTS_MS	30000
#define DIGESTS_AT_ONCE 64 /* lists, before news are asked for again */

/* A file whose root is known and whose list is not, of a model in use. */
struct listless {
	uint64_t serial; /* of the source */
	size_t index;	 /* in its manifest */
	uint64_t size;
	uint8_t id[WFS_WIRE_ID_BYTES], root[WFS_WIRE_HASH_SIZE];
};

static bool is_listless(const struct remote_region *r)
{
	return r->far && r->has_root && !r->no_list && r->base.size &&
	       !wfs_far_is_trusted(r->far);
}

static bool next_listless(struct remote_seed *seed, struct listless *ret)
{
	struct wfs_remote *remote = seed->remote;
	bool found = false;

	pthread_mutex_lock(&remote->lock);
	for (struct wfs_remote_source *s = remote->sources; s && !found;
	     s = s->next) {
		for (size_t i = 0;
		     s->authority == seed && !found && i < s->manifest->count;
		     i++) {
			struct remote_region *r = &s->regions[i];

			if (!is_listless(r))
				continue;
			found = true;
			*ret = (struct listless){
				s->serial, i, r->base.size, { 0 }, { 0 }
			};
			memcpy(ret->id, r->id, sizeof(ret->id));
			memcpy(ret->root, r->root, sizeof(ret->root));
		}
	}
	pthread_mutex_unlock(&remote->lock);
	return found;
}

static int get_list(struct remote_seed *seed, const struct listless *file,
		    struct wfs_digests **ret, struct wfs_err *err)
{
	struct wfs_get request = {
		.limit = WFS_DIGESTS_HEAD +
			 wfs_chunk_count(file->size) * WFS_WIRE_HASH_SIZE,
		.timeout_ms = DIGESTS_MS,
		.stop = &seed->remote->stop,
	};
	struct wfs_http http = { 0 };
	char path[96], hex[2 * WFS_WIRE_ID_BYTES + 1];
	int rc;

	for (size_t i = 0; i < sizeof(file->id); i++)
		snprintf(hex + 2 * i, 3, "%02x", file->id[i]);
	snprintf(path, sizeof(path), "/v1/regions/%s/digests", hex);
	request.path = path;
	rc = wfs_http_get(seed->link, seed->curl, &request, &http, err);
	if (!rc && http.status != 200)
		rc = wfs_err_set(err, -EAGAIN, "%s: not known yet", path);
	if (!rc)
		rc = wfs_digests_parse(http.body, http.len, WFS_XXH3_128,
				       file->size, file->root, ret, err);
	wfs_http_clear(&http);
	return rc;
}

/* Hands a list to the file it is of, if that is there still. */
static void give_list(struct wfs_remote *remote, const struct listless *file,
		      struct wfs_digests *digests)
{
	pthread_mutex_lock(&remote->lock);
	for (struct wfs_remote_source *s = remote->sources; s; s = s->next) {
		struct remote_region *r = &s->regions[file->index];

		if (s->serial != file->serial)
			continue;
		if (digests)
			wfs_far_trust(r->far, wfs_steal_ptr(&digests));
		else
			r->no_list = true;
	}
	pthread_mutex_unlock(&remote->lock);
	free(digests);
}

/* Without a list each chunk is compared with the digest it comes with. */
void wfs_remote_get_lists(struct remote_seed *seed)
{
	struct listless file;

	for (int i = 0; i < DIGESTS_AT_ONCE && next_listless(seed, &file);
	     i++) {
		struct wfs_digests *digests = NULL;
		struct wfs_err err = { 0 };

		if (atomic_load(&seed->remote->stop))
			return;
		if (get_list(seed, &file, &digests, &err)) {
			if (err.code == -EBADMSG)
				wfs_warn("seed '%s': %s", seed->link->label,
					 err.text);
			if (err.code == -EAGAIN || err.code == -EIO)
				return;
		}
		give_list(seed->remote, &file, digests);
	}
}
