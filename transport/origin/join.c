/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another place that has the very version of an origin whose digests are
 * proven: one more peer of the origin's fetch, each of its chunks held against
 * the same list.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "transport/fetch/copy.h"
#include "transport/origin/inner.h"

#define LANES 16

/* Called for each file of which a chunk was another: it is left alone. */
void wfs_origin_differs(void *ctx, struct wfs_peer *peer, uint64_t group,
			const char *text)
{
	(void)ctx;
	(void)group;
	wfs_error("'%s' is not what it says it has: %s; that file is not taken "
		  "from there",
		  wfs_peer_label(peer), text);
}

static int add_peer(struct origin *o, const struct wfs_origin_join *join,
		    struct wfs_err *err)
{
	int rc;

	if (o->others_peer)
		return 0;
	o->others = wfs_copy_new();
	rc = wfs_peer_add(o->fetch, join->source->label, &wfs_copy_lane_ops,
			  o->others, LANES, &o->others_peer);
	if (!rc)
		return 0;
	wfs_copy_free(o->others);
	o->others = NULL;
	return wfs_err_set(err, rc, "'%s' is left out: %s", join->source->label,
			   wfs_peer_refusal(rc));
}

/* Which file of the other's is which of ours. */
static void hold_files(struct origin *o, struct wfs_source *others)
{
	const struct wfs_source_entry *list, *found;
	size_t n;

	list = wfs_source_list(others, &n);
	for (size_t i = 0; i < o->listing.count; i++) {
		struct origin_region *r = &o->regions[i];
		uint8_t id[WFS_WIRE_ID_BYTES];

		found = wfs_source_entry_of(others, r->base.path);
		if (!found || !found->region ||
		    found->region->size != r->base.size) {
			wfs_far_drop(r->far, o->others_peer);
			continue;
		}
		wfs_copy_id(o->others, (size_t)(found - list), id);
		wfs_far_hold(r->far, o->others_peer, id);
	}
}

static void end(const struct wfs_origin_join *join)
{
	if (!join->source)
		return;
	join->end(join->source);
	wfs_source_put(join->source);
}

int wfs_origin_join(struct wfs_source *origin,
		    const struct wfs_origin_join *join, struct wfs_err *err)
{
	struct origin *o = (struct origin *)origin;
	struct wfs_origin_join old = { 0 };
	int rc;

	pthread_mutex_lock(&o->join_lock);
	rc = add_peer(o, join, err);
	if (!rc) {
		old = o->joined;
		o->joined = *join;
		wfs_source_get(join->source);
		wfs_copy_set(o->others, join->source);
		wfs_peer_set_rank(o->peer, join->own_rank);
		wfs_peer_set_rank(o->others_peer, join->rank);
		hold_files(o, join->source);
	}
	pthread_mutex_unlock(&o->join_lock);
	end(&old);
	return rc;
}

/* Not before its lists are there: a byte is what brings them. */
static struct wfs_digests *ask(struct wfs_region *region)
{
	struct wfs_known_digests known = { 0 };
	struct wfs_digests *digests;
	uint8_t byte;

	if (!region || wfs_region_read_exactly(region, &byte, 1, 0) ||
	    !wfs_region_digests(region, WFS_SHA256, &known) || !known.list)
		return NULL;
	digests = wfs_digests_new(WFS_SHA256, known.list->size);
	memcpy(digests->bytes, known.list->bytes,
	       known.list->count * wfs_digest_size(WFS_SHA256));
	return digests;
}

void wfs_origin_ask_others(struct origin *o, struct origin_region *region,
			   const uint8_t root[WFS_ROOT_BYTES])
{
	const struct wfs_source_entry *found = NULL;
	struct wfs_source *others = NULL;
	struct wfs_digests *digests;
	uint8_t has[WFS_DIGEST_MAX];

	pthread_mutex_lock(&o->join_lock);
	if (o->joined.source)
		others = wfs_source_get(o->joined.source);
	pthread_mutex_unlock(&o->join_lock);
	if (!others)
		return;
	found = wfs_source_entry_of(others, region->base.path);
	digests = found ? ask(found->region) : NULL;
	wfs_source_put(others);
	if (!digests)
		return;
	wfs_digests_root(digests, has);
	if (digests->size == region->base.size &&
	    !memcmp(has, root, WFS_ROOT_BYTES))
		wfs_far_trust(region->far, digests);
	else
		free(digests);
}

void wfs_origin_part(struct origin *o)
{
	if (o->joined.source)
		o->joined.end(o->joined.source);
}

void wfs_origin_forget_others(struct origin *o)
{
	wfs_copy_free(o->others);
	wfs_source_put(o->joined.source);
}
