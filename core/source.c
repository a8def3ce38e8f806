/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapper in front of every source: clamps, asserts, counts, and says
 * once what went wrong, so that a backend is only about its own bytes.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/events.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "core/source.h"

void wfs_source_init(struct wfs_source *src, const struct wfs_source_ops *ops,
		     const char *label)
{
	assert(ops && ops->name && ops->list && ops->read && ops->close);
	src->ops = ops;
	src->label = wfs_strdup(label);
	src->via = NULL;
	src->chunks = NULL;
	src->live = NULL;
	atomic_init(&src->refs, 1);
	atomic_init(&src->bytes_read, 0);
	atomic_init(&src->errors, 0);
}

struct wfs_source *wfs_source_get(struct wfs_source *src)
{
	unsigned before = atomic_fetch_add(&src->refs, 1);

	assert(before > 0 && before < UINT_MAX);
	(void)before;
	return src;
}

static void drop_heads(struct wfs_source *src)
{
	const struct wfs_source_entry *list;
	size_t n;

	list = src->ops->list(src, &n);
	for (size_t i = 0; i < n; i++)
		if (list[i].region)
			free(list[i].region->head);
}

void wfs_source_put(struct wfs_source *src)
{
	unsigned before;
	char *label, *via;

	if (!src)
		return;
	before = atomic_fetch_sub(&src->refs, 1);
	assert(before > 0);
	if (before > 1)
		return;
	drop_heads(src);
	/* The backend frees the struct and may still name itself. */
	label = src->label;
	via = src->via;
	src->ops->close(src);
	free(label);
	free(via);
}

const struct wfs_source_entry *wfs_source_list(struct wfs_source *src,
					       size_t *ret_count)
{
	return src->ops->list(src, ret_count);
}

static int by_path(const void *key, const void *entry)
{
	return strcmp(key, ((const struct wfs_source_entry *)entry)->path);
}

const struct wfs_source_entry *wfs_source_entry_of(struct wfs_source *src,
						   const char *path)
{
	const struct wfs_source_entry *list;
	size_t n;

	list = wfs_source_list(src, &n);
	return bsearch(path, list, n, sizeof(*list), by_path);
}

/* The first -ESTALE of a region: from now on it is never trusted again. */
static void mark_stale(struct wfs_region *region)
{
	static const char text[] =
		"'%s' of '%s' was rewritten in place: new opens fail until "
		"the model is read again (replace a checkpoint by rename)";

	if (atomic_exchange(&region->stale, true))
		return;
	if (region->source->live) {
		wfs_debug("the memory behind '%s' of '%s' was updated",
			  region->path, region->source->label);
		return;
	}
	wfs_error(text, region->path, region->source->label);
	wfs_event("stale", NULL, text, region->path, region->source->label);
}

static const char *reason(int code)
{
	if (code == -EBADMSG)
		return "the bytes that come do not match their digest";
	if (code == -EHOSTUNREACH)
		return "nobody who has it can be reached";
	return strerror(-code);
}

void wfs_region_note_failure(struct wfs_region *region, int code)
{
	static const char text[] = "cannot read '%s' of '%s': %s";

	atomic_fetch_add(&region->source->errors, 1);
	if (code == -ESTALE) {
		mark_stale(region);
		return;
	}
	if (atomic_exchange(&region->failed_once, true))
		return;
	wfs_error(text, region->path, region->source->label, reason(code));
	wfs_event("error", NULL, text, region->path, region->source->label,
		  reason(code));
}

void wfs_region_keep(struct wfs_region *region, const void *bytes, uint64_t len)
{
	assert(!region->head && len <= region->size);
	region->head = wfs_malloc(len);
	memcpy(region->head, bytes, len);
	region->head_len = len;
}

static int read_bytes(struct wfs_region *region, void *buf, size_t len,
		      uint64_t off)
{
	if (atomic_load(&region->stale))
		return -ESTALE;
	if (off + len <= region->head_len) {
		memcpy(buf, (char *)region->head + off, len);
		return 0;
	}
	return region->source->ops->read(region, buf, len, off);
}

ssize_t wfs_region_read(struct wfs_region *region, void *buf, size_t len,
			uint64_t off)
{
	struct wfs_source *src = region->source;
	int rc;

	assert(buf || !len);
	if (off >= region->size || !len)
		return 0;
	if (len > region->size - off)
		len = (size_t)(region->size - off);
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	rc = read_bytes(region, buf, len, off);
	assert(rc <= 0);
	if (rc < 0) {
		wfs_region_note_failure(region, rc);
		return rc;
	}
	atomic_fetch_add(&src->bytes_read, len);
	return (ssize_t)len;
}

int wfs_region_read_exactly(struct wfs_region *region, void *buf, size_t len,
			    uint64_t off)
{
	ssize_t got = wfs_region_read(region, buf, len, off);

	if (got < 0)
		return (int)got;
	return (size_t)got == len ? 0 : -EIO;
}

int wfs_region_read_parsed(struct wfs_region *region, void *buf, size_t len,
			   uint64_t off)
{
	int rc = wfs_region_read_exactly(region, buf, len, off);

	return rc == -EBADMSG || rc == -EHOSTUNREACH ? -EIO : rc;
}

int wfs_region_readv(struct wfs_region *region, const struct iovec *parts,
		     int n, uint64_t off)
{
	int fd = wfs_region_descriptor(region);
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += parts[i].iov_len;
	if (fd >= 0 && !atomic_load(&region->stale) &&
	    preadv(fd, parts, n, (off_t)off) == (ssize_t)total) {
		atomic_fetch_add(&region->source->bytes_read, total);
		return 0;
	}
	/* What went wrong is the source's to find and to tell. */
	for (int i = 0; i < n; i++) {
		int rc = wfs_region_read_exactly(region, parts[i].iov_base,
						 parts[i].iov_len, off);

		if (rc)
			return rc;
		off += parts[i].iov_len;
	}
	return 0;
}

int wfs_region_descriptor(struct wfs_region *region)
{
	const struct wfs_source_ops *ops = region->source->ops;

	return ops->descriptor ? ops->descriptor(region) : -ENOTSUP;
}

int wfs_region_land(struct wfs_region *region, struct wfs_landing *landing,
		    size_t len, uint64_t off)
{
	const struct wfs_source_ops *ops = region->source->ops;
	const struct wfs_landing_ring *ring = landing->ring;
	int rc;

	if (off > region->size || len > region->size - off ||
	    landing->at > ring->bytes || len > ring->bytes - landing->at)
		return -ERANGE;
	if (atomic_load(&region->stale))
		return -ESTALE;
	if (!ops->land || off < region->head_len ||
	    wfs_region_descriptor(region) >= 0)
		return -ENOTSUP;
	rc = wfs_landing_why_stop(landing);
	if (!rc && len)
		rc = ops->land(region, landing, len, off);
	assert(rc <= 0);
	if (rc == -ESTALE)
		wfs_region_note_failure(region, rc);
	if (!rc)
		atomic_fetch_add(&region->source->bytes_read, len);
	return rc;
}

bool wfs_region_is_far(struct wfs_region *region)
{
	return region->source->ops->far && wfs_region_descriptor(region) < 0;
}

bool wfs_region_digests(struct wfs_region *region,
			enum wfs_digest_algorithm algorithm,
			struct wfs_known_digests *ret)
{
	const struct wfs_source_ops *ops = region->source->ops;

	return ops->digests && ops->digests(region, algorithm, ret);
}

void wfs_region_count(struct wfs_region *region, uint64_t bytes)
{
	atomic_fetch_add(&region->source->bytes_read, bytes);
}

static _Thread_local bool reading_ahead, reading_in_passing;

void wfs_read_ahead(bool ahead)
{
	reading_ahead = ahead;
}

bool wfs_reading_ahead(void)
{
	return reading_ahead;
}

void wfs_read_in_passing(bool passing)
{
	reading_in_passing = passing;
}

bool wfs_reading_in_passing(void)
{
	return reading_in_passing;
}

int wfs_region_check(struct wfs_region *region)
{
	const struct wfs_source_ops *ops = region->source->ops;

	if (atomic_load(&region->stale))
		return -ESTALE;
	if (!ops->check || ops->check(region) != -ESTALE)
		return 0;
	mark_stale(region);
	return -ESTALE;
}

enum wfs_trust wfs_region_trust(struct wfs_region *region)
{
	const struct wfs_source_ops *ops = region->source->ops;

	return ops->trust ? ops->trust(region) : WFS_TRUST_NONE;
}

/* The first of the regions that are worth least, or NULL. */
static struct wfs_region *least_trusted(struct wfs_source *src)
{
	const struct wfs_source_entry *list;
	struct wfs_region *least = NULL;
	size_t n;

	list = wfs_source_list(src, &n);
	for (size_t i = 0; i < n; i++)
		if (list[i].region &&
		    (!least || wfs_region_trust(list[i].region) <
				       wfs_region_trust(least)))
			least = list[i].region;
	return least;
}

enum wfs_trust wfs_source_trust(struct wfs_source *src)
{
	struct wfs_region *least = least_trusted(src);

	return least ? wfs_region_trust(least) : WFS_TRUST_NONE;
}

int wfs_source_check_trust(struct wfs_source *src, enum wfs_trust least,
			   struct wfs_err *err)
{
	struct wfs_region *region = least_trusted(src);

	if (!region || wfs_region_trust(region) >= least)
		return 0;
	return wfs_err_set(err, -EPERM,
			   "'%s' of '%s' is not served: its trust class is "
			   "'%s', and trust=%s asks for more",
			   region->path, src->label,
			   wfs_trust_name(wfs_region_trust(region)),
			   wfs_trust_name(least));
}
