/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See slab.h.
 */
#include "transport/rdma/slab.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/mem.h"

struct wfs_slab_block {
	struct wfs_slab_block *next;
	void *registered;
	uint8_t *bytes;
	size_t len;
	struct wfs_slab_piece pieces[WFS_SLAB_BLOCK]; /* or fewer */
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
		munmap(block->bytes, block->len);
		free(block);
	}
	pthread_mutex_destroy(&slab->lock);
}

/* Memory that a child of ours does not share, for a fork must not move it. */
static int map_block(const struct wfs_registrar *registrar,
		     struct wfs_slab_block *block, uint32_t *ret_key,
		     struct wfs_err *err)
{
	void *map = mmap(NULL, block->len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (map == MAP_FAILED)
		return wfs_err_set(err, -ENOMEM, "no memory for RDMA");
	madvise(map, block->len, MADV_DONTFORK);
	block->bytes = map;
	block->registered =
		registrar->add(registrar->ctx, map, block->len, ret_key);
	if (block->registered)
		return 0;
	rc = -errno;
	munmap(map, block->len);
	return wfs_err_set(err, rc,
			   "cannot register %zu bytes for RDMA: %s; ulimit -l "
			   "unlimited, or LimitMEMLOCK=infinity of a service",
			   block->len, strerror(-rc));
}

static int grow_locked(struct wfs_slab *slab, struct wfs_err *err)
{
	uint64_t max = slab->registrar->max / WFS_SLAB_PIECE;
	size_t pieces = max < WFS_SLAB_BLOCK ? max : WFS_SLAB_BLOCK;
	struct wfs_slab_block *block;
	uint32_t key = 0;
	int rc;

	if (!pieces)
		return wfs_err_set(err, -EOPNOTSUPP,
				   "the RDMA device registers %llu bytes as "
				   "one, a chunk needs %zu",
				   (unsigned long long)slab->registrar->max,
				   (size_t)WFS_SLAB_PIECE);
	block = wfs_calloc(1, sizeof(*block));
	block->len = pieces * WFS_SLAB_PIECE;
	rc = map_block(slab->registrar, block, &key, err);
	if (rc) {
		free(block);
		return rc;
	}
	block->next = slab->blocks;
	slab->blocks = block;
	for (size_t i = 0; i < pieces; i++) {
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
