/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Far files: who has them, and what their chunks are compared with.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "transport/fetch/inner.h"

struct wfs_far *wfs_far_new(struct wfs_fetch *fetch, const char *model,
			    const char *path, uint64_t size)
{
	struct wfs_far *far = wfs_calloc(1, sizeof(*far));

	far->fetch = fetch;
	far->model = wfs_strdup(model);
	far->path = wfs_strdup(path);
	far->size = size;
	return far;
}

void wfs_far_set_group(struct wfs_far *far, struct wfs_far_group *group)
{
	far->group = group;
}

void wfs_far_free(struct wfs_far *far)
{
	if (!far)
		return;
	free(far->holders);
	free(far->digests);
	free(far->model);
	free(far->path);
	free(far);
}

static struct wfs_holder *add_holder(struct wfs_far *far,
				     const struct wfs_peer *peer)
{
	unsigned at = far->holder_count++;

	far->holders = wfs_realloc(far->holders,
				   far->holder_count * sizeof(*far->holders));
	for (; at && far->holders[at - 1].peer->index > peer->index; at--)
		far->holders[at] = far->holders[at - 1];
	return &far->holders[at];
}

void wfs_far_hold(struct wfs_far *far, struct wfs_peer *peer,
		  const uint8_t id[WFS_WIRE_ID_BYTES])
{
	struct wfs_fetch *fetch = far->fetch;
	struct wfs_holder *holder;

	pthread_mutex_lock(&fetch->lock);
	holder = wfs_far_holder_locked(far, peer);
	if (!holder)
		holder = add_holder(far, peer);
	*holder = (struct wfs_holder){ .peer = peer };
	memcpy(holder->id, id, sizeof(holder->id));
	wfs_peer_call_locked(peer);
	pthread_mutex_unlock(&fetch->lock);
}

void wfs_far_drop(struct wfs_far *far, struct wfs_peer *peer)
{
	struct wfs_fetch *fetch = far->fetch;
	struct wfs_holder *holder;

	pthread_mutex_lock(&fetch->lock);
	holder = wfs_far_holder_locked(far, peer);
	if (holder) {
		size_t at = (size_t)(holder - far->holders);

		memmove(holder, holder + 1,
			(--far->holder_count - at) * sizeof(*holder));
		/* What was left to it is for others. */
		wfs_fetch_call_locked(fetch);
	}
	pthread_mutex_unlock(&fetch->lock);
}

void wfs_far_replaced(struct wfs_far *far, struct wfs_peer *peer)
{
	struct wfs_fetch *fetch = far->fetch;
	struct wfs_holder *holder;

	pthread_mutex_lock(&fetch->lock);
	holder = wfs_far_holder_locked(far, peer);
	if (holder) {
		holder->state = WFS_HOLDER_STALE;
		wfs_fetch_wake_readers_locked(fetch, far);
		wfs_fetch_call_locked(fetch);
	}
	pthread_mutex_unlock(&fetch->lock);
}

bool wfs_far_trust(struct wfs_far *far, struct wfs_digests *digests)
{
	struct wfs_fetch *fetch = far->fetch;
	bool first;

	pthread_mutex_lock(&fetch->lock);
	first = !far->digests;
	if (first) {
		far->digests = digests;
		wfs_fetch_call_locked(fetch);
	}
	pthread_mutex_unlock(&fetch->lock);
	if (!first)
		free(digests);
	return first;
}

const struct wfs_digests *wfs_far_digests(const struct wfs_far *far)
{
	struct wfs_fetch *fetch = far->fetch;
	const struct wfs_digests *digests;

	pthread_mutex_lock(&fetch->lock);
	digests = far->digests;
	pthread_mutex_unlock(&fetch->lock);
	return digests;
}

bool wfs_far_is_trusted(const struct wfs_far *far)
{
	return wfs_far_digests(far);
}
