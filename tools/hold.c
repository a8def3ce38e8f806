/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See hold.h.  Nobody is asked for anything here: what is not on this node is
 * "not held", so that nodes which seed each other cannot wait for each other.
 */
#include "tools/hold.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/text.h"

static uint64_t held(void *ctx, struct wfs_region *region)
{
	uint64_t head = region->head_len;

	/* Of the head, what the arena has, too, is counted once. */
	return wfs_store_holds(ctx, region) + head -
	       wfs_store_finds(ctx, region, 0, head);
}

static bool holds(void *ctx, struct wfs_region *region, uint64_t off,
		  uint64_t len)
{
	uint64_t end = off + len;

	while (off < end) {
		uint64_t n = wfs_store_finds(ctx, region, off, end - off);

		if (!n && off < region->head_len)
			n = region->head_len - off;
		if (!n)
			return false;
		off += n;
	}
	return true;
}

static void close_file(void *own)
{
	close((int)(intptr_t)own);
}

/* Some bytes at `off`, at most `len`, into `buf`; 0: there are none. */
static size_t gather_some(struct wfs_store *store,
			  const struct wfs_region *region, char *buf,
			  size_t len, uint64_t off)
{
	struct wfs_found found;
	ssize_t got;

	if (off < region->head_len) {
		if (len > region->head_len - off)
			len = region->head_len - off;
		memcpy(buf, (const char *)region->head + off, len);
		return len;
	}
	if (wfs_store_find(store, region, off, len, &found))
		return 0;
	got = wfs_pread_all(found.fd, buf, found.len, found.off);
	close(found.fd);
	return got == (ssize_t)found.len ? found.len : 0;
}

/* A copy of what lies in several places. */
static int gather(struct wfs_store *store, const struct wfs_region *region,
		  uint64_t off, size_t len, struct wfs_stretch *ret_stretch)
{
	char *bytes = wfs_malloc(len);
	size_t done = 0, n;

	while (done < len && (n = gather_some(store, region, bytes + done,
					      len - done, off + done)))
		done += n;
	if (!done) {
		free(bytes);
		return -ENODATA;
	}
	*ret_stretch = (struct wfs_stretch){
		.len = done,
		.fd = -1,
		.bytes = bytes,
		.release = free,
		.own = bytes,
	};
	return 0;
}

static int take(void *ctx, struct wfs_region *region, uint64_t off, size_t len,
		struct wfs_stretch *ret_stretch)
{
	struct wfs_found found;
	int rc;

	if (len > WFS_CHUNK)
		len = WFS_CHUNK;
	rc = wfs_store_find(ctx, region, off, len, &found);
	if (!rc && found.len < len) {
		close(found.fd);
		rc = -ENODATA;
	}
	if (rc)
		return gather(ctx, region, off, len, ret_stretch);
	*ret_stretch = (struct wfs_stretch){
		.len = len,
		.fd = found.fd,
		.off = found.off,
		.release = close_file,
		.own = (void *)(intptr_t)found.fd,
	};
	return 0;
}

static int lend(void *ctx, struct wfs_region *region)
{
	return wfs_store_lend(ctx, region);
}

struct wfs_holder wfs_holder_of(struct wfs_store *store)
{
	return (struct wfs_holder){
		.ctx = store,
		.held = held,
		.holds = holds,
		.take = take,
		.lend = lend,
	};
}
