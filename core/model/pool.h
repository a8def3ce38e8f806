/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for what a model holds by the hundred thousand: names and shapes.
 *
 * Taken in large blocks, given back all at once.  One pool belongs to one
 * thread while it grows; pools are then joined without copying.
 */
#ifndef WFS_CORE_MODEL_POOL_H
#define WFS_CORE_MODEL_POOL_H

#include <stddef.h>

struct wfs_pool_block;

/* Start with {0}. */
struct wfs_pool {
	struct wfs_pool_block *blocks; /* the newest first */
};

/* `size` bytes, aligned to 8 if `aligned` is set, not cleared. */
void *wfs_pool_alloc(struct wfs_pool *pool, size_t size, int aligned);
/* `len` bytes and a NUL. */
char *wfs_pool_text(struct wfs_pool *pool, const char *s, size_t len);
/* Moves all of `from` into `pool`; `from` is empty afterwards. */
void wfs_pool_join(struct wfs_pool *pool, struct wfs_pool *from);
void wfs_pool_clear(struct wfs_pool *pool);

#endif
