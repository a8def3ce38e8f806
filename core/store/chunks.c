/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks: found, fetched once, given out.
 */
#include <errno.h>
#include <string.h>

#include "core/base/text.h"
#include "core/store/chunks_inner.h"

/* Pages [first, end) of a chunk. */
struct pages {
	unsigned first, end;
};

/* ---- pages */

static bool has_page(const struct wfs_chunk *chunk, unsigned page)
{
	return chunk->pages[page / 64] >> page % 64 & 1;
}

/* The first pages of `want` that follow each other and are missing. */
static bool next_missing(const struct wfs_chunk *chunk, struct pages want,
			 struct pages *ret)
{
	while (want.first < want.end && has_page(chunk, want.first))
		want.first++;
	ret->first = want.first;
	while (want.first < want.end && !has_page(chunk, want.first))
		want.first++;
	ret->end = want.first;
	return ret->first < ret->end;
}

static void add_pages(struct wfs_chunk *chunk, struct pages pages)
{
	for (unsigned i = pages.first; i < pages.end; i++) {
		chunk->pages[i / 64] |= 1ull << i % 64;
		chunk->left[i] = WFS_PAGE_UNASKED;
	}
	chunk->valid = (uint16_t)(chunk->valid + pages.end - pages.first);
}

/* ---- fetching */

/* Without the lock; these pages are nobody else's until they are added. */
static int read_pages(struct wfs_chunks *chunks, struct wfs_chunk *chunk,
		      struct pages pages, uint64_t *ret_bytes)
{
	uint64_t from = (uint64_t)pages.first * WFS_PAGE;
	uint64_t to = (uint64_t)pages.end * WFS_PAGE;
	int rc;

	if (to > wfs_chunk_size(chunk))
		to = wfs_chunk_size(chunk);
	rc = wfs_chunk_obtain(chunks, chunk->region,
			      wfs_chunk_data(chunks, chunk) + from,
			      (size_t)(to - from),
			      wfs_chunk_start(chunk) + from);
	if (!rc)
		*ret_bytes = to - from;
	return rc;
}

static int fetch_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk,
			struct pages pages)
{
	uint64_t bytes = 0;
	int rc;

	chunk->fetching = true;
	wfs_chunks_unlock(chunks);
	rc = read_pages(chunks, chunk, pages, &bytes);
	pthread_mutex_lock(&chunks->lock);
	chunk->fetching = false;
	chunks->fetched += bytes;
	if (rc) {
		chunk->failures++;
		chunk->error = rc;
	} else {
		add_pages(chunk, pages);
	}
	pthread_cond_broadcast(&chunks->changed);
	return rc;
}

/* Until the fetch under way is over; its error is ours, too. */
static int wait_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk)
{
	unsigned failures = chunk->failures;

	chunks->waited++;
	while (chunk->fetching && chunk->failures == failures) {
		if (chunks->stopped)
			return -ESHUTDOWN;
		pthread_cond_wait(&chunks->changed, &chunks->lock);
	}
	return chunk->failures == failures ? 0 : chunk->error;
}

static int fill_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk,
		       struct pages want)
{
	struct pages missing;
	int rc = 0;

	while (!rc && next_missing(chunk, want, &missing)) {
		if (chunks->stopped)
			return -ESHUTDOWN;
		rc = chunk->fetching ? wait_locked(chunks, chunk) :
				       fetch_locked(chunks, chunk, missing);
	}
	return rc;
}

/* ---- finding */

static struct wfs_chunk *find_locked(const struct wfs_chunks *chunks,
				     const struct wfs_region *region,
				     uint64_t index)
{
	struct wfs_chunk *chunk = *wfs_chunk_bucket(chunks, region, index);

	while (chunk && (chunk->region != region || chunk->index != index))
		chunk = chunk->chain;
	return chunk;
}

static struct wfs_chunk *add_locked(struct wfs_chunks *chunks,
				    struct wfs_region *region, uint64_t index,
				    uint32_t slot)
{
	struct wfs_chunk **at = wfs_chunk_bucket(chunks, region, index);
	struct wfs_chunk *chunk = wfs_calloc(1, sizeof(*chunk));

	wfs_source_get(region->source);
	chunk->region = region;
	chunk->index = index;
	chunk->slot = slot;
	chunk->hashed = true;
	chunk->chain = *at;
	*at = chunk;
	chunks->kept++;
	return chunk;
}

/* The chunk, with one more user; NULL: there is no room for it. */
static struct wfs_chunk *use_locked(struct wfs_chunks *chunks,
				    struct wfs_region *region, uint64_t index)
{
	struct wfs_chunk *chunk = find_locked(chunks, region, index);
	uint32_t slot;

	if (!chunk) {
		bool room;

		wfs_chunks_unlock(chunks);
		room = wfs_slot_take(chunks, &slot);
		pthread_mutex_lock(&chunks->lock);
		chunk = find_locked(chunks, region, index);
		if (!chunk && !room)
			return NULL;
		if (!chunk) {
			chunk = add_locked(chunks, region, index, slot);
			chunk->users = 1;
			return chunk;
		}
		if (room)
			wfs_slot_give_locked(chunks, slot);
	}
	if (!chunk->users++)
		wfs_chunk_busy_locked(chunks, chunk);
	return chunk;
}

void wfs_chunk_unuse_locked(struct wfs_chunks *chunks, struct wfs_chunk *chunk)
{
	if (--chunk->users)
		return;
	if (!chunk->hashed || chunk->done == chunk->valid)
		wfs_chunk_bury_locked(chunks, chunk);
	else
		wfs_chunk_idle_locked(chunks, chunk);
}

/* Bytes of the reader's own, where there is no room for more. */
static int get_own(struct wfs_chunks *chunks, struct wfs_region *region,
		   struct wfs_chunk_ref *ref)
{
	int rc;

	ref->own = wfs_malloc(ref->len);
	rc = wfs_chunk_obtain(chunks, region, ref->own, ref->len, ref->off);
	if (rc)
		free(ref->own);
	ref->data = ref->own;
	return rc;
}

int wfs_chunk_get(struct wfs_chunks *chunks, struct wfs_region *region,
		  const struct wfs_chunk_want *want, uint64_t off, uint64_t len,
		  struct wfs_chunk_ref *ret_ref)
{
	struct wfs_chunk_ref ref = { .want = *want, .off = off, .len = len };
	uint64_t first = off / WFS_CHUNK_BYTES * WFS_CHUNK_BYTES;
	struct pages pages = { (unsigned)((off - first) / WFS_PAGE),
			       (unsigned)((off + len - first - 1) / WFS_PAGE +
					  1) };
	int rc = -ESHUTDOWN;

	if (atomic_load(&region->stale))
		return -ESTALE;
	pthread_mutex_lock(&chunks->lock);
	if (!chunks->stopped)
		ref.chunk = use_locked(chunks, region, off / WFS_CHUNK_BYTES);
	if (ref.chunk) {
		if (wfs_chunk_is_far(region))
			pages = (struct pages){
				0, (unsigned)((wfs_chunk_size(ref.chunk) - 1) /
						      WFS_PAGE +
					      1)
			};
		rc = fill_locked(chunks, ref.chunk, pages);
		if (rc)
			wfs_chunk_unuse_locked(chunks, ref.chunk);
		else
			chunks->served += len;
		ref.data = wfs_chunk_data(chunks, ref.chunk) + (off - first);
	} else if (!chunks->stopped) {
		rc = 0;
	}
	wfs_chunks_unlock(chunks);
	if (!rc && !ref.chunk)
		rc = get_own(chunks, region, &ref);
	if (!rc)
		*ret_ref = ref;
	return rc;
}

void wfs_chunk_put(struct wfs_chunks *chunks, struct wfs_chunk_ref *ref)
{
	free(ref->own);
	if (ref->chunk) {
		pthread_mutex_lock(&chunks->lock);
		if (!wfs_reading_in_passing())
			wfs_chunk_pass_locked(ref->chunk, ref);
		if (!wfs_chunk_hold_locked(ref->chunk))
			wfs_chunk_unuse_locked(chunks, ref->chunk);
		wfs_chunks_unlock(chunks);
	}
	*ref = (struct wfs_chunk_ref){ 0 };
}

/* Is chunk `index` neither here nor on its way? */
static bool is_absent_locked(struct wfs_chunks *chunks,
			     const struct wfs_region *region, uint64_t index)
{
	return !find_locked(chunks, region, index) &&
	       !wfs_flight_has_locked(chunks, region, index);
}

/*
 * Whole chunks at `off` that are absent, in bytes; if they are far, they are
 * under way then.  Not what is read in passing from far away: it is to be
 * there for the hydration that follows.
 */
static size_t begin(struct wfs_chunks *chunks, struct wfs_region *region,
		    struct iovec to, uint64_t off,
		    struct wfs_flight **ret_flight)
{
	size_t n = 0;

	*ret_flight = NULL;
	if (off % WFS_CHUNK_BYTES ||
	    (wfs_reading_in_passing() && wfs_chunk_is_far(region)))
		return 0;
	pthread_mutex_lock(&chunks->lock);
	while (to.iov_len - n >= WFS_CHUNK_BYTES && !chunks->stopped &&
	       is_absent_locked(chunks, region, (off + n) / WFS_CHUNK_BYTES))
		n += WFS_CHUNK_BYTES;
	if (n && wfs_chunk_is_far(region))
		wfs_flight_add_locked(chunks, region, to.iov_base, n, off,
				      ret_flight);
	pthread_mutex_unlock(&chunks->lock);
	return n;
}

int wfs_chunks_read(struct wfs_chunks *chunks, struct wfs_region *region,
		    const struct wfs_chunk_want *want, void *buf, size_t len,
		    uint64_t off)
{
	char *to = buf;

	while (len) {
		struct iovec rest = { to, len };
		struct wfs_flight *flight = NULL;
		size_t n = want->files > 1 ?
				   0 :
				   begin(chunks, region, rest, off, &flight);
		int rc;

		if (flight) {
			rc = wfs_flight_run(chunks, flight);
		} else if (n) {
			rc = wfs_region_read_exactly(region, to, n, off);
		} else {
			struct wfs_chunk_ref ref;

			n = (size_t)(WFS_CHUNK_BYTES - off % WFS_CHUNK_BYTES);
			if (n > len)
				n = len;
			rc = wfs_chunk_get(chunks, region, want, off, n, &ref);
			if (!rc) {
				memcpy(to, ref.data, n);
				wfs_chunk_put(chunks, &ref);
			}
		}
		if (rc)
			return rc;
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

void wfs_chunks_stop(struct wfs_chunks *chunks)
{
	pthread_mutex_lock(&chunks->lock);
	chunks->stopped = true;
	pthread_cond_broadcast(&chunks->changed);
	pthread_mutex_unlock(&chunks->lock);
}

void wfs_chunks_start(struct wfs_chunks *chunks)
{
	pthread_mutex_lock(&chunks->lock);
	chunks->stopped = false;
	pthread_mutex_unlock(&chunks->lock);
}
