/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See direct.h.
 */
#include "transport/live/direct.h"

#include <errno.h>
#include <sys/socket.h>

#include "core/base/least.h"
#include "core/base/mem.h"

#define LAST 64 /* bytes that are held back */

struct wfs_live_direct {
	struct wfs_region *region;
	uint64_t off;
	size_t body; /* bytes before the last ones */
};

struct wfs_live_direct *wfs_live_direct_new(struct wfs_region *region,
					    uint64_t off, size_t len)
{
	struct wfs_live_direct *direct;

	/* In an update, who takes it is told so before a byte is out. */
	if (len <= LAST || !wfs_live_can_send(region, off, len) ||
	    !wfs_live_holds(region))
		return NULL;
	direct = wfs_malloc(sizeof(*direct));
	*direct = (struct wfs_live_direct){ region, off, len - LAST };
	return direct;
}

void wfs_live_direct_free(struct wfs_live_direct *direct)
{
	free(direct);
}

static ssize_t send_last(const struct wfs_live_direct *direct, int socket,
			 size_t at, size_t len)
{
	struct wfs_bounce *bounce;
	int rc = wfs_live_take(direct->region, direct->off + at, len, &bounce);
	ssize_t n;

	if (rc)
		return rc == -EIO ? -EFAULT : rc;
	n = send(socket, bounce->bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	n = n < 0 ? -errno : n;
	wfs_bounce_put(bounce);
	return n;
}

ssize_t wfs_live_direct_send(struct wfs_live_direct *direct, int socket,
			     size_t at, size_t len)
{
	if (at >= direct->body)
		return send_last(direct, socket, at, len);
	return wfs_live_send(direct->region, direct->off + at,
			     (size_t)wfs_least(len, direct->body - at), socket);
}
