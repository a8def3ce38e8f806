/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of far regions the arena has, for a node that passes them on,
 * and for other files that want them: a tensor is taken from its shard file.
 *
 * A file is made of stretches of regions; those that lie in it as
 * they do at their source are listed by region, in the order of their offsets
 * and the longer first, so that a whole file comes before all that is cut out
 * of it.  Slices and casts of a layout are in no order that anybody asks for.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/store/inner.h"

struct wfs_extent {
	struct wfs_extent *next; /* of the object */
	struct wfs_holding *holding;
	struct wfs_object *object;
	uint64_t off, len; /* in the region */
	uint64_t at;	   /* in the object's file */
};

/* Of one region. */
struct wfs_holding {
	struct wfs_holding *next;
	struct wfs_region *region; /* with a reference to its source */
	struct wfs_extent **extents;
	size_t count, cap;
	uint64_t longest; /* ever */
};

static struct wfs_holding **bucket(struct wfs_store *store,
				   const struct wfs_region *region)
{
	uint64_t hash = ((uintptr_t)region >> 4) * 0x9e3779b97f4a7c15ull;

	return &store->holdings[hash >> 32 & (WFS_HOLDING_BUCKETS - 1)];
}

static struct wfs_holding *find(struct wfs_store *store,
				const struct wfs_region *region)
{
	struct wfs_holding *h = *bucket(store, region);

	while (h && h->region != region)
		h = h->next;
	return h;
}

static struct wfs_holding *get(struct wfs_store *store,
			       struct wfs_region *region)
{
	struct wfs_holding *h = find(store, region);

	if (h)
		return h;
	h = wfs_calloc(1, sizeof(*h));
	h->region = region;
	wfs_source_get(region->source);
	h->next = *bucket(store, region);
	*bucket(store, region) = h;
	return h;
}

/* How many extents begin before `off`, or there and are no shorter. */
static size_t place(const struct wfs_holding *h, uint64_t off, uint64_t len)
{
	size_t lo = 0, hi = h->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct wfs_extent *e = h->extents[mid];

		if (e->off < off || (e->off == off && e->len >= len))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void insert(struct wfs_holding *h, struct wfs_extent *e)
{
	size_t at = place(h, e->off, e->len);

	if (h->count == h->cap) {
		h->cap = 2 * h->cap + 4;
		h->extents =
			wfs_realloc(h->extents, h->cap * sizeof(*h->extents));
	}
	memmove(&h->extents[at + 1], &h->extents[at],
		(h->count - at) * sizeof(struct wfs_extent *));
	h->extents[at] = e;
	h->count++;
	if (e->len > h->longest)
		h->longest = e->len;
}

bool wfs_piece_is_plain(const struct wfs_piece *piece)
{
	return piece->kind == WFS_PIECE_REGION && !piece->cast &&
	       !piece->nloops && piece->count == 1 &&
	       wfs_region_is_far(piece->region);
}

void wfs_holding_add_locked(struct wfs_store *store, struct wfs_object *object,
			    const struct wfs_recipe *recipe)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < recipe->n; i++) {
		const struct wfs_piece *piece = &recipe->pieces[i];
		struct wfs_extent *e;

		if (recipe->ends)
			at = piece->at;
		if (wfs_piece_is_plain(piece)) {
			e = wfs_malloc(sizeof(*e));
			*e = (struct wfs_extent){
				.next = object->extents,
				.holding = get(store, piece->region),
				.object = object,
				.off = piece->off,
				.len = piece->run,
				.at = at,
			};
			object->extents = e;
			insert(e->holding, e);
		}
		at += piece->run * piece->count;
	}
}

static void take_out(const struct wfs_extent *e)
{
	struct wfs_holding *h = e->holding;
	size_t at = place(h, e->off, e->len);

	while (h->extents[at - 1] != e)
		at--;
	memmove(&h->extents[at - 1], &h->extents[at],
		(h->count - at) * sizeof(struct wfs_extent *));
	h->count--;
}

struct wfs_holding *wfs_holding_remove_locked(struct wfs_store *store,
					      struct wfs_object *object)
{
	struct wfs_holding *empty = NULL;
	struct wfs_extent *e;

	while ((e = object->extents)) {
		struct wfs_holding *h = e->holding;
		struct wfs_holding **link = bucket(store, h->region);

		object->extents = e->next;
		take_out(e);
		free(e);
		if (h->count)
			continue;
		while (*link != h)
			link = &(*link)->next;
		*link = h->next;
		h->next = empty;
		empty = h;
	}
	return empty;
}

void wfs_holdings_free(struct wfs_holding *empty)
{
	while (empty) {
		struct wfs_holding *next = empty->next;

		wfs_source_put(empty->region->source);
		free(empty->extents);
		free(empty);
		empty = next;
	}
}

static uint64_t end_of(const struct wfs_extent *e)
{
	return e->off + e->len;
}

/* How far it has bytes from `off` on, which is not before it; 0: no bytes. */
static uint64_t end_from(const struct wfs_extent *e, uint64_t off)
{
	uint64_t end = end_of(e);
	size_t n;

	if (end <= off || e->object->state != WFS_HYDRATING)
		return end;
	n = wfs_object_copied_locked(e->object, e->at + (off - e->off),
				     (size_t)(end - off));
	return n ? off + n : 0;
}

/*
 * The extent that has most of [off, off + len), from `off` on; or NULL.
 * `parts`: files that are being hydrated count, and those that go do not.
 */
static const struct wfs_extent *best(const struct wfs_holding *h, uint64_t off,
				     uint64_t len, bool parts)
{
	const struct wfs_extent *found = NULL;
	uint64_t most = off;

	if (!h || !h->count)
		return NULL;
	if (!h->extents[0]->off &&
	    h->extents[0]->object->state == WFS_RESIDENT &&
	    end_of(h->extents[0]) >= off + len)
		return h->extents[0];
	for (size_t i = place(h, off, 0); i-- > 0;) {
		const struct wfs_extent *e = h->extents[i];
		uint64_t end;

		if (e->off + h->longest <= off)
			break;
		if (e->object->state == (parts ? WFS_EVICTING : WFS_HYDRATING))
			continue;
		end = end_from(e, off);
		if (end <= most)
			continue;
		found = e;
		most = end;
		if (end >= off + len)
			break;
	}
	return found;
}

int wfs_store_find(struct wfs_store *store, const struct wfs_region *region,
		   uint64_t off, uint64_t len, struct wfs_found *ret_found)
{
	struct wfs_found found = { .fd = -1 };
	const struct wfs_extent *e;

	pthread_mutex_lock(&store->lock);
	e = best(find(store, region), off, len, false);
	if (e) {
		found.off = e->at + (off - e->off);
		found.len = end_of(e) - off < len ? end_of(e) - off : len;
		/* Of the same open file, so that it may be evicted. */
		found.fd = fcntl(e->object->fd, F_DUPFD_CLOEXEC, 0);
	}
	pthread_mutex_unlock(&store->lock);
	if (found.fd < 0)
		return e ? -EIO : -ENODATA;
	*ret_found = found;
	return 0;
}

uint64_t wfs_store_finds(struct wfs_store *store,
			 const struct wfs_region *region, uint64_t off,
			 uint64_t len)
{
	const struct wfs_holding *h;
	const struct wfs_extent *e;
	uint64_t at = off;

	pthread_mutex_lock(&store->lock);
	h = find(store, region);
	while (at < off + len && (e = best(h, at, off + len - at, false)))
		at = end_of(e);
	pthread_mutex_unlock(&store->lock);
	return at - off < len ? at - off : len;
}

uint64_t wfs_store_holds(struct wfs_store *store,
			 const struct wfs_region *region)
{
	uint64_t bytes = 0, at = 0;
	const struct wfs_holding *h;

	pthread_mutex_lock(&store->lock);
	h = find(store, region);
	for (size_t i = 0; h && i < h->count; i++) {
		const struct wfs_extent *e = h->extents[i];

		if (end_of(e) <= at || e->object->state == WFS_HYDRATING)
			continue;
		bytes += end_of(e) - (e->off > at ? e->off : at);
		at = end_of(e);
	}
	pthread_mutex_unlock(&store->lock);
	return bytes;
}

/* Is a file about to be resident that has bytes at `off`? */
static bool soon(const struct wfs_holding *h, uint64_t off)
{
	for (size_t i = h ? place(h, off, 0) : 0; i-- > 0;) {
		const struct wfs_extent *e = h->extents[i];

		if (e->off + h->longest <= off)
			break;
		if (end_of(e) > off && e->object->state == WFS_HYDRATING &&
		    e->object->job->phase == WFS_JOB_FINISHING)
			return true;
	}
	return false;
}

ssize_t wfs_holding_read(struct wfs_store *store,
			 const struct wfs_region *region, void *buf, size_t len,
			 uint64_t off)
{
	const struct wfs_extent *e;
	ssize_t n = 0;

	pthread_mutex_lock(&store->lock);
	while (!(e = best(find(store, region), off, len, true)) &&
	       soon(find(store, region), off))
		pthread_cond_wait(&store->changed, &store->lock);
	if (e) {
		if (len > end_of(e) - off)
			len = (size_t)(end_of(e) - off);
		n = wfs_object_read_locked(store, e->object, buf, len,
					   e->at + (off - e->off));
	}
	pthread_mutex_unlock(&store->lock);
	return n;
}

int wfs_store_lend(struct wfs_store *store, const struct wfs_region *region)
{
	const struct wfs_extent *e;
	uint32_t serial = 0;
	struct stat st;
	bool whole;
	int fd;

	pthread_mutex_lock(&store->lock);
	e = best(find(store, region), 0, region->size, false);
	whole = e && !e->at && e->len == region->size &&
		e->object->size == region->size && !e->object->doomed;
	if (whole)
		serial = e->object->serial;
	pthread_mutex_unlock(&store->lock);
	if (!whole)
		return -ENOTSUP;
	/* Opened anew, which keeps it from being taken for idle. */
	fd = wfs_arena_reopen(&store->arena, serial);
	if (fd < 0)
		return -ENOTSUP; /* evicted just now */
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size == region->size)
		return fd;
	close(fd);
	return -ENOTSUP;
}
