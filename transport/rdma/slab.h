/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slab of registered memory, for chunks that cannot land where they belong:
 * those of small files, at the edges of what is read, or a hedge's.
 *
 * It grows by blocks, when a lane opens, and its blocks stay registered until
 * it goes: a lane takes what it needs for all that it may have under way, so
 * that nothing is allocated or registered while bytes move.
 */
#ifndef WFS_TRANSPORT_RDMA_SLAB_H
#define WFS_TRANSPORT_RDMA_SLAB_H

#include <pthread.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/digest/digests.h"
#include "transport/rdma/registrar.h"

/* A chunk, and behind it its digest. */
#define WFS_SLAB_PIECE	       (WFS_CHUNK + 64)
#define WFS_SLAB_DIGEST(piece) ((piece)->bytes + WFS_CHUNK)
#define WFS_SLAB_BLOCK	       16 /* pieces registered at a time, at most */

struct wfs_slab_piece {
	uint8_t *bytes; /* WFS_SLAB_PIECE */
	uint32_t key;
	struct wfs_slab_piece *next; /* the slab's */
};

struct wfs_slab {
	const struct wfs_registrar *registrar;
	pthread_mutex_t lock;
	struct wfs_slab_block *blocks;
	struct wfs_slab_piece *free;
};

/* The registrar must outlive it. */
void wfs_slab_init(struct wfs_slab *slab,
		   const struct wfs_registrar *registrar);
/* All pieces were given back, or nothing can write to them any more. */
void wfs_slab_clear(struct wfs_slab *slab);

/* Any thread.  What registering failed with, and a sentence. */
int wfs_slab_take(struct wfs_slab *slab, struct wfs_slab_piece **ret_piece,
		  struct wfs_err *err);
/* When nothing can write to it any more.  NULL is fine. */
void wfs_slab_give(struct wfs_slab *slab, struct wfs_slab_piece *piece);

#endif
