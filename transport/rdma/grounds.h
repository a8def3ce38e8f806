/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where chunks may land by themselves: the files of the arena that are being
 * filled, registered once each with a device.
 *
 * A file is registered when its first chunk is to land, and is let go of
 * before its mapping goes (core/base/stretch.h), which is before anybody sees
 * the file.  What a device does not register in one is registered in parts
 * that overlap by a chunk, so that each chunk lies in one of them.
 */
#ifndef WFS_TRANSPORT_RDMA_GROUNDS_H
#define WFS_TRANSPORT_RDMA_GROUNDS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/stretch.h"
#include "transport/rdma/registrar.h"

/* Smaller ones are copied sooner than they are registered. */
#define WFS_GROUND_MIN (16ull << 20)

struct wfs_ground;

struct wfs_grounds {
	const struct wfs_registrar *registrar;
	const char *label; /* of the device, for messages */
	struct wfs_stretch_watch watch;
	pthread_mutex_t lock; /* guards all below */
	struct wfs_ground *first;
	bool warned;
};

/* The registrar and the label must outlive it. */
void wfs_grounds_init(struct wfs_grounds *grounds,
		      const struct wfs_registrar *registrar, const char *label);
/* When nothing writes there any more. */
void wfs_grounds_clear(struct wfs_grounds *grounds);

/*
 * Whether `len` bytes (at most a chunk) may land at `to`, and with what key.
 * False for memory that does not stay, that is too small, that the device did
 * not register, or that another thread is registering right now.  For reads
 * under way only, as wfs_stretch_find.
 */
bool wfs_grounds_find(struct wfs_grounds *grounds, void *to, uint32_t len,
		      uint32_t *ret_key);

#endif
