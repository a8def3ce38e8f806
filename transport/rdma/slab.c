/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See slab.h.
 */
#include "transport/rdma/slab.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/mem.h"

#define BLOCK_BYTES ((size_t)WFS_SLAB_BLOCK * WFS_SLAB_PIECE)

struct wfs_slab_block {
	struct wfs_slab_block *next;
	void *registered;
	uint8_t *bytes;
	struct wfs_slab_piece pieces[WFS_SLAB_BLOCK];
};

void wfs_slab_init(struct wfs_slab *slab, const struct wfs_registrar *registrar)
{
	*slab = (struct wfs_slab){ .registrar = registrar };
	pthread_mutex_init(&slab->lock, NULL);
}

void wfs_slab_clear(struct wfs_slab *slab)
{
	while (slab->blocks) {
		struct wfs_slab_block *block = slab->blocks;

		slab->blocks = block->next;
		slab->registrar->remove(slab->registrar->ctx,
					block->registered);
		munmap(block->bytes, BLOCK_BYTES);
		free(block);
	}
	pthread_mutex_destroy(&slab->lock);
}

/* Memory that a child of ours does not share, for a fork must not move it. */
static int grow_locked(struct wfs_slab *slab, struct wfs_err *err)
{
	const struct wfs_registrar *registrar = slab->registrar;
	void *map = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wfs_slab_block *block;
	void *registered;
	uint32_t key = 0;

	if (map == MAP_FAILED)
		return wfs_err_set(err, -ENOMEM, "no memory for RDMA");
	madvise(map, BLOCK_BYTES, MADV_DONTFORK);
	registered = registrar->add(registrar->ctx, map, BLOCK_BYTES, &key);
	if (!registered) {
		int rc = -errno;

		munmap(map, BLOCK_BYTES);
		return wfs_err_set(err, rc,
				   "cannot register %zu bytes for RDMA: %s; "
				   "ulimit -l unlimited, or "
				   "LimitMEMLOCK=infinity of a service",
				   BLOCK_BYTES, strerror(-rc));
	}
	block = wfs_calloc(1, sizeof(*block));
	*block = (struct wfs_slab_block){ .next = slab->blocks,
					  .registered = registered,
					  .bytes = map };
	slab->blocks = block;
	for (size_t i = 0; i < WFS_SLAB_BLOCK; i++) {
		block->pieces[i] = (struct wfs_slab_piece){
			.bytes = block->bytes + i * WFS_SLAB_PIECE,
			.key = key,
			.next = slab->free,
		};
		slab->free = &block->pieces[i];
	}
	return 0;
}

int wfs_slab_take(struct wfs_slab *slab, struct wfs_slab_piece **ret_piece,
		  struct wfs_err *err)
{
	struct wfs_slab_piece *piece;
	int rc = 0;

	pthread_mutex_lock(&slab->lock);
	if (!slab->free)
		rc = grow_locked(slab, err);
	piece = slab->free;
	if (!rc && piece) {
		slab->free = piece->next;
		*ret_piece = piece;
	}
	pthread_mutex_unlock(&slab->lock);
	return rc;
}

void wfs_slab_give(struct wfs_slab *slab, struct wfs_slab_piece *piece)
{
	if (!piece)
		return;
	pthread_mutex_lock(&slab->lock);
	piece->next = slab->free;
	slab->free = piece;
	pthread_mutex_unlock(&slab->lock);
}
