/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of models beside the seeds: which files of them may stand in for
 * which of the version that is served, and which copies turned out to be of
 * another one.
 *
 * A file matches by its path and size, and what is at hand of it already, the
 * headers of shards, must be the same; then each chunk is held against the
 * authority's digests.  Whatever is not the same drops the whole copy, for
 * that version, until it changes.
 */
#include <errno.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "transport/fetch/copy.h"
#include "transport/remote/inner.h"

#define PIECE (1u << 20) /* bytes of a header compared at a time */

static struct remote_match *match_of(struct wfs_remote_source *source,
				     const struct wfs_remote_copy *copy)
{
	for (unsigned i = 0; i < source->match_count; i++)
		if (source->matches[i].copy == copy)
			return &source->matches[i];
	return NULL;
}

static void drop_files_locked(struct wfs_remote_source *source,
			      struct wfs_remote_copy *copy)
{
	for (size_t i = 0; i < source->manifest->count; i++)
		if (source->regions[i].far)
			wfs_far_drop(source->regions[i].far, copy->peer);
}

/* True when that is news. */
static bool note_differs_locked(struct wfs_remote_source *source,
				struct wfs_remote_copy *copy)
{
	struct remote_match *match = match_of(source, copy);

	if (!match || match->state == REMOTE_MATCH_DIFFERS)
		return false;
	match->state = REMOTE_MATCH_DIFFERS;
	match->files = 0;
	if (copy->peer)
		drop_files_locked(source, copy);
	return true;
}

static void tell_differs(const struct wfs_remote_copy *copy, const char *label,
			 const char *text)
{
	wfs_error("copy '%s' is not what '%s' has: %s; nothing of it is used",
		  copy->label, label, text);
	wfs_event("copy", copy->name, "'%s' is not what '%s' has", copy->label,
		  label);
}

void wfs_remote_copy_differs(void *ctx, struct wfs_peer *peer, uint64_t group,
			     const char *text)
{
	struct wfs_remote *remote = ctx;
	struct wfs_remote_copy *copy;
	struct wfs_remote_source *s;
	char *label wfs_autofree = NULL;

	pthread_mutex_lock(&remote->lock);
	for (copy = remote->copies; copy && copy->peer != peer;)
		copy = copy->next;
	for (s = remote->sources; s && s->serial != group;)
		s = s->next;
	if (copy && s && note_differs_locked(s, copy))
		label = wfs_strdup(s->base.label);
	pthread_mutex_unlock(&remote->lock);
	if (label)
		tell_differs(copy, label, text);
}

size_t wfs_remote_copy_checkable_locked(const struct wfs_remote_copy *copy,
					size_t *ret_files)
{
	size_t checkable = 0, files = 0;

	for (struct wfs_remote_source *s = copy->remote->sources; s;
	     s = s->next) {
		const struct remote_match *match = match_of(s, copy);

		if (!match || !match->files)
			continue;
		files += match->files;
		for (size_t i = 0; i < s->manifest->count; i++)
			if (s->regions[i].far &&
			    wfs_far_has(s->regions[i].far, copy->peer))
				checkable++;
	}
	*ret_files = files;
	return checkable;
}

bool wfs_remote_has_copy_locked(const struct wfs_remote *remote,
				const char *remote_name)
{
	for (const struct wfs_remote_source *s = remote->sources; s;
	     s = s->next)
		if (s->match_count && !strcmp(s->remote_name, remote_name))
			return true;
	return false;
}

struct wfs_remote_copy *
wfs_remote_copy_add(struct wfs_remote *remote,
		    const struct wfs_remote_copy_config *config)
{
	struct wfs_remote_copy *copy = wfs_calloc(1, sizeof(*copy)), **at;

	copy->remote = remote;
	copy->name = wfs_strdup(config->name);
	copy->label = wfs_strdup(config->label);
	copy->kind = config->kind;
	copy->rank = config->rank;
	copy->lanes = config->lanes;
	copy->lane = wfs_copy_new();
	pthread_mutex_lock(&remote->lock);
	for (at = &remote->copies; *at; at = &(*at)->next)
		;
	*at = copy;
	pthread_mutex_unlock(&remote->lock);
	return copy;
}

void wfs_remote_copies_free(struct wfs_remote *remote)
{
	while (remote->copies) {
		struct wfs_remote_copy *copy = remote->copies;

		remote->copies = copy->next;
		wfs_copy_free(copy->lane);
		free(copy->name);
		free(copy->label);
		free(copy);
	}
}

void wfs_remote_copy_set(struct wfs_remote_copy *copy,
			 struct wfs_source *source)
{
	struct wfs_remote *remote = copy->remote;

	wfs_copy_set(copy->lane, source);
	pthread_mutex_lock(&remote->lock);
	copy->there = source;
	for (struct wfs_remote_source *s = remote->sources; s; s = s->next) {
		struct remote_match *match = match_of(s, copy);

		if (!match)
			continue;
		match->state = REMOTE_MATCH_OPEN;
		match->files = 0;
		if (copy->peer)
			drop_files_locked(s, copy);
	}
	pthread_mutex_unlock(&remote->lock);
}

/*
 * Has the copy the bytes that are kept of the region?  1, 0 or a negative
 * errno.
 */
static int has_head(struct wfs_region *region, struct wfs_region *copy)
{
	char *buf wfs_autofree = wfs_malloc(PIECE);
	const char *head = region->head;

	for (uint64_t off = 0; off < region->head_len;) {
		uint64_t left = region->head_len - off;
		size_t n = left < PIECE ? left : PIECE;
		int rc = wfs_region_read_exactly(copy, buf, n, off);

		if (rc)
			return rc;
		if (memcmp(buf, head + off, n))
			return 0;
		off += n;
	}
	return 1;
}

/* For each file of the served version, 1 + that of the copy; 0: none. */
struct pairs {
	size_t *of;
	size_t count;  /* that have one */
	char *differs; /* why the copy is another version */
};

static int pair_up(struct wfs_remote_source *source, struct wfs_source *with,
		   struct pairs *p)
{
	const struct wfs_source_entry *list, *found;
	size_t n;

	list = wfs_source_list(with, &n);
	for (size_t i = 0; i < source->manifest->count; i++) {
		struct wfs_region *region = source->entries[i].region;
		int same;

		if (!region || !region->size)
			continue;
		found = wfs_source_entry_of(with, region->path);
		if (!found || !found->region ||
		    found->region->size != region->size)
			continue;
		same = has_head(region, found->region);
		if (same < 0)
			return same;
		if (!same) {
			p->differs = wfs_asprintf("the beginning of '%s' is "
						  "another",
						  region->path);
			return 0;
		}
		p->of[i] = 1 + (size_t)(found - list);
		p->count++;
	}
	if (!p->count)
		p->differs = wfs_strdup("no file has the same path and size");
	return 0;
}

static int add_peer(struct wfs_remote_copy *copy)
{
	struct wfs_remote *remote = copy->remote;
	struct wfs_peer *peer;
	int rc;

	if (copy->peer)
		return 0;
	rc = wfs_peer_add(remote->fetch, copy->label, &wfs_copy_lane_ops,
			  copy->lane, copy->lanes, &peer);
	if (rc)
		return rc;
	wfs_peer_set_rank(peer, copy->rank);
	pthread_mutex_lock(&remote->lock);
	copy->peer = peer;
	pthread_mutex_unlock(&remote->lock);
	return 0;
}

static void hold_files(struct wfs_remote_copy *copy,
		       struct wfs_remote_source *source, const struct pairs *p)
{
	struct wfs_remote *remote = copy->remote;
	uint8_t id[WFS_WIRE_ID_BYTES];

	pthread_mutex_lock(&remote->lock);
	*match_of(source, copy) = (struct remote_match){
		.copy = copy,
		.state = REMOTE_MATCH_SAME,
		.files = p->count,
	};
	for (size_t i = 0; i < source->manifest->count; i++) {
		if (!p->of[i])
			continue;
		wfs_copy_id(copy->lane, p->of[i] - 1, id);
		wfs_far_hold(source->regions[i].far, copy->peer, id);
	}
	pthread_mutex_unlock(&remote->lock);
	wfs_info("copy '%s' may stand in for '%s' files=%zu", copy->label,
		 source->base.label, p->count);
}

static int match(struct wfs_remote_copy *copy, struct wfs_remote_source *source,
		 struct wfs_err *err)
{
	size_t *of wfs_autofree =
		wfs_calloc(source->manifest->count + 1, sizeof(*of));
	struct pairs pairs = { .of = of };
	struct wfs_source *theirs = wfs_copy_get(copy->lane);
	char *differs wfs_autofree = NULL;
	int rc = pair_up(source, theirs, &pairs);

	differs = pairs.differs;
	wfs_source_put(theirs);
	if (rc)
		return wfs_err_set(err, rc, "cannot read '%s': %s", copy->label,
				   strerror(-rc));
	if (differs) {
		pthread_mutex_lock(&copy->remote->lock);
		note_differs_locked(source, copy);
		pthread_mutex_unlock(&copy->remote->lock);
		tell_differs(copy, source->base.label, differs);
		return 0;
	}
	rc = add_peer(copy);
	if (rc)
		return wfs_err_set(err, rc, "copy '%s' is left out: %s",
				   copy->label, wfs_peer_refusal(rc));
	hold_files(copy, source, &pairs);
	return 0;
}

/* Is it to be compared with that source now? */
static bool is_open(struct wfs_remote_copy *copy,
		    struct wfs_remote_source *source)
{
	struct wfs_remote *remote = copy->remote;
	struct remote_match *found;
	bool open;

	pthread_mutex_lock(&remote->lock);
	found = match_of(source, copy);
	if (!found && source->match_count < WFS_RANKS_MAX) {
		found = &source->matches[source->match_count++];
		*found = (struct remote_match){ .copy = copy };
		/* Its digests are wanted from now on. */
		for (size_t i = 0; i < source->manifest->count; i++)
			if (source->regions[i].authority)
				source->regions[i].authority->kicked = true;
		pthread_cond_broadcast(&remote->changed);
	}
	open = found && found->state == REMOTE_MATCH_OPEN && copy->there;
	pthread_mutex_unlock(&remote->lock);
	return open;
}

bool wfs_remote_copy_serves(const struct wfs_remote_copy *copy,
			    struct wfs_source *source)
{
	const struct wfs_remote_source *s = wfs_remote_source_of(source);

	return s && s->remote == copy->remote && !strcmp(s->name, copy->name);
}

int wfs_remote_copy_match(struct wfs_remote_copy *copy,
			  struct wfs_source *source, struct wfs_err *err)
{
	struct wfs_remote_source *s = wfs_remote_source_of(source);

	return is_open(copy, s) ? match(copy, s, err) : 0;
}
